// SPDX-License-Identifier: Apache-2.0
import { adviceOf } from '../../../electron/contract/refusal.ts';
import { type ActRow, actBy } from '../../../electron/contract/act.ts';

/** Whether every word of `filter` stands somewhere in the act, whatever its case; "failed" also finds what failed. */
export function matches(act: ActRow, filter: string): boolean {
  const { error } = act;
  const text = [
    act.what,
    actBy(act),
    act.command ?? '',
    error === null ? '' : `failed ${error.code} ${error.message} ${adviceOf(error).join(' ')}`,
  ]
    .join('\n')
    .toLowerCase();
  return filter
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}
