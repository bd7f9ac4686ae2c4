// SPDX-License-Identifier: Apache-2.0
import { useMemo, type ReactElement } from 'react';
import { CommandButton } from '../../commands/CommandButton.tsx';
import { Button } from '../../lib/Button.tsx';
import { ErrorNote } from '../../lib/ErrorNote.tsx';
import { subjectKey } from '../../store/subject.ts';
import { useTables, type Row } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import { FailureNote } from './FailureNote.tsx';
import styles from './Failures.module.css';
import { failedJobs, jobTitle } from './job-words.ts';

/** Failures that nobody has dismissed: jobs of this lab, and commands whose subject the inspector does not show. */
export function Failures({ lab }: { readonly lab: Row<'labs'> }): ReactElement | null {
  const jobs = useTables((tables) => tables.jobs);
  const dismissed = useUi((ui) => ui.dismissedJobs);
  const failures = useUi((ui) => ui.failures);
  const selection = useUi((ui) => ui.selection);
  const failed = useMemo(() => failedJobs(jobs.values(), lab), [jobs, lab]);
  const shownJobs = failed.filter((job) => !dismissed.has(job.id));
  const here = selection ? subjectKey(selection) : '';
  const shown = [...failures].filter(([key]) => key !== here);
  if (shownJobs.length === 0 && shown.length === 0) return null;
  return (
    <section className={styles.panel} role="alert" aria-label="Failures">
      {shownJobs.map((job) =>
        job.error ? (
          <ErrorNote
            key={job.id}
            title={`${jobTitle(job)} failed`}
            error={job.error}
            onDismiss={() => useUi.getState().dismissJob(job.id)}
          >
            {job.name === 'lab.up' ? <CommandButton id="lab.up" text="Try again" size="small" /> : null}
            {job.name === 'lab.down' ? <CommandButton id="lab.down" text="Try again" size="small" /> : null}
            <Button size="small" onPress={() => useUi.getState().show('checks')}>
              Check this computer
            </Button>
          </ErrorNote>
        ) : null,
      )}
      {shown.map(([key, failure]) => (
        <FailureNote key={key} at={key} failure={failure} />
      ))}
    </section>
  );
}
