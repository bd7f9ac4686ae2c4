// SPDX-License-Identifier: Apache-2.0
import './map.css';

/** Placeholder replaced below. */
export function LabTree({ lab }: { readonly lab: string }) {
  return <p>{lab}</p>;
}
