// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { CommandButton } from '../../commands/CommandButton.tsx';
import { runningJob } from '../../commands/lab.ts';
import { commandState } from '../../commands/run.ts';
import { elideMiddle } from '../../lib/format.ts';
import { useTables } from '../../store/tables.ts';
import styles from './JobProgress.module.css';
import { jobShare, jobTitle } from './job-words.ts';

/** What is being done with the lab now, how far it is, and the way to stop it. */
export function JobProgress({ lab }: { readonly lab: string }): ReactElement | null {
  const job = useTables((tables) => runningJob({ ...commandState(), tables }, lab));
  if (!job) return null;
  const share = jobShare(job);
  return (
    <div className={styles.job}>
      <progress
        className={styles.bar}
        aria-label={jobTitle(job)}
        {...(share === null ? {} : { value: share })}
        max={1}
      />
      <span className={styles.doing}>{elideMiddle(job.doing, 40)}</span>
      {job.total > 0 ? (
        <span className={styles.count}>
          {job.done}/{job.total}
        </span>
      ) : null}
      <CommandButton
        id="job.cancel"
        text="Cancel"
        size="small"
        variant="ghost"
        subject={{ kind: 'lab', id: lab }}
      />
    </div>
  );
}
