// SPDX-License-Identifier: Apache-2.0
import type { CheckResult } from '../../../electron/contract/rows.ts';
import type { Row } from '../../store/tables.ts';

const isMend = (job: Row<'jobs'>): boolean => job.name === 'check.mend';

/** The newest mend of a check. */
export function mendOf(jobs: Iterable<Row<'jobs'>>, check: string): Row<'jobs'> | undefined {
  return [...jobs]
    .filter((job) => isMend(job) && job.check === check)
    .sort((a, b) => b.startedAt - a.startedAt)[0];
}

/** The id of the mend that ended last, of whichever check; null where none has. */
export function lastMended(jobs: Iterable<Row<'jobs'>>): string | null {
  const ended = [...jobs].filter((job) => isMend(job) && job.endedAt !== null);
  return ended.sort((a, b) => (b.endedAt ?? 0) - (a.endedAt ?? 0))[0]?.id ?? null;
}

/** What needs mending first. */
const rank = { failed: 0, warning: 1, ok: 2 } as const;

/** New results in the order of the old ones, so that a row stays where it is mended; without those, the worst first. */
export function merged(
  before: readonly CheckResult[],
  results: readonly CheckResult[],
): readonly CheckResult[] {
  const place = new Map(before.map(({ id }, at) => [id, at]));
  return [...results].sort(
    (a, b) =>
      (place.get(a.id) ?? before.length) - (place.get(b.id) ?? before.length) ||
      rank[a.state] - rank[b.state],
  );
}
