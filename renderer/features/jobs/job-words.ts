// SPDX-License-Identifier: Apache-2.0
import type { Row } from '../../store/tables.ts';

const verbs: Readonly<Record<string, string>> = {
  'lab.up': 'Bring up',
  'lab.down': 'Bring down',
  'lab.move': 'Move',
};

/** What a job is, for people: "Bring up seed". */
export function jobTitle(job: Pick<Row<'jobs'>, 'name' | 'lab'>): string {
  return `${verbs[job.name] ?? job.name}${job.lab === null ? '' : ` ${job.lab}`}`;
}

/** How far a job is, 0 to 1; null while that is not known. */
export function jobShare(job: Pick<Row<'jobs'>, 'done' | 'total'>): number | null {
  return job.total > 0 ? Math.min(1, job.done / job.total) : null;
}

/**
 * The failed jobs of a lab that are worth showing: the newest of each name, unless it has succeeded since. What
 * the lab itself still says of its last failure the banner shows.
 */
export function failedJobs(
  jobs: Iterable<Row<'jobs'>>,
  lab: Pick<Row<'labs'>, 'id' | 'error'>,
): readonly Row<'jobs'>[] {
  const newest = new Map<string, Row<'jobs'>>();
  for (const job of jobs) {
    if (job.lab !== lab.id) continue;
    const known = newest.get(job.name);
    if (!known || known.startedAt < job.startedAt) newest.set(job.name, job);
  }
  const last = Math.max(0, ...[...newest.values()].map((job) => job.startedAt));
  // A lab that failed to come up and was then taken down has no failure left to mend.
  return [...newest.values()].filter(
    (job) =>
      job.state === 'failed' &&
      job.error !== null &&
      job.startedAt === last &&
      !(job.error.code === lab.error?.code && job.error.message === lab.error.message),
  );
}
