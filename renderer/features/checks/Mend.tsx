// SPDX-License-Identifier: Apache-2.0
import { Wrench } from 'lucide-react';
import { useState, type ReactElement } from 'react';
import { TapyardError, type ErrorData } from '../../../electron/contract/error.ts';
import type { MendableCheck } from '../../../electron/contract/rows.ts';
import { Button } from '../../lib/Button.tsx';
import { ErrorNote } from '../../lib/ErrorNote.tsx';
import { cx } from '../../lib/class-names.ts';
import { useClient } from '../../store/core.ts';
import { useTables } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import styles from './Checks.module.css';
import { mendOf } from './mends.ts';

interface MendProps {
  readonly check: MendableCheck;
  readonly title: string;
  /** Whether the check was looked at since its last mend. */
  readonly current: boolean;
}

/** Lets the core run the command of a fix; how that goes is a job, so who leaves the page and comes back still sees it. */
export function Mend({ check, title, current }: MendProps): ReactElement {
  const client = useClient();
  const job = useTables((tables) => mendOf(tables.jobs.values(), check));
  // From the press until the job is there.
  const [asking, setAsking] = useState(false);
  const [refused, setRefused] = useState<ErrorData | null>(null);
  const running = job?.state === 'running';
  const pending =
    running || asking ? 'Mending…' : job?.state === 'done' && !current ? 'Looking again…' : undefined;

  const mend = async (): Promise<void> => {
    setAsking(true);
    setRefused(null);
    if (job) useUi.getState().dismissJob(job.id);
    try {
      await client.check.mend({ check });
    } catch (thrown) {
      setRefused(TapyardError.from(thrown).toData());
    } finally {
      setAsking(false);
    }
  };

  return (
    <div className={styles.mend}>
      <div className={styles.act}>
        <Button
          unavailable={pending}
          tip="As root: polkit asks for the password first"
          aria-label={pending === undefined ? `Mend: ${title}` : `${pending} ${title}`}
          onPress={() => void mend()}
        >
          <Wrench aria-hidden />
          {pending ?? 'Mend'}
        </Button>
        {running ? (
          <Button variant="ghost" onPress={() => void client.job.cancel({ job: job.id }).catch(() => {})}>
            Cancel
          </Button>
        ) : null}
        <p className={cx(styles.how, running && styles.asks)} role="status">
          {running
            ? (job.asks ?? job.doing)
            : 'Runs this as root for you, through polkit in place of sudo: it asks for a password first.'}
        </p>
      </div>
      {refused ? (
        <div role="alert">
          <ErrorNote title="It was not mended" error={refused} onDismiss={() => setRefused(null)} />
        </div>
      ) : null}
    </div>
  );
}

/** Why the last mend of a check failed, until that is dismissed or tried again; it may have left no fix to stand at. */
export function MendFailure({ check }: { readonly check: string }): ReactElement | null {
  const job = useTables((tables) => mendOf(tables.jobs.values(), check));
  const dismissed = useUi((ui) => job !== undefined && ui.dismissedJobs.has(job.id));
  if (job?.state !== 'failed' || job.error === null || dismissed) return null;
  return (
    <div className={styles.mend} role="alert">
      <ErrorNote
        title="It was not mended"
        error={job.error}
        onDismiss={() => useUi.getState().dismissJob(job.id)}
      />
    </div>
  );
}
