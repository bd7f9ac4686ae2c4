// SPDX-License-Identifier: Apache-2.0

/** What virsh-inside.ts found, ms. */
export interface Rival {
  readonly ours: { readonly up: readonly number[]; readonly down: readonly number[] };
  readonly theirs: { readonly up: readonly number[]; readonly down: readonly number[] };
  /** virsh that asks for nothing. */
  readonly virsh: readonly number[];
}
