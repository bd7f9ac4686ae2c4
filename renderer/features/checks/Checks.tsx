// SPDX-License-Identifier: Apache-2.0
import { useEffect, useState, type ReactElement } from 'react';
import { TapyardError, type ErrorData } from '../../../electron/contract/error.ts';
import type { CheckResult } from '../../../electron/contract/rows.ts';
import { Button } from '../../lib/Button.tsx';
import { ErrorNote } from '../../lib/ErrorNote.tsx';
import { Page } from '../../lib/Page.tsx';
import { count } from '../../lib/format.ts';
import { useClient } from '../../store/core.ts';
import { useTables } from '../../store/tables.ts';
import { CheckRow } from './CheckRow.tsx';
import styles from './Checks.module.css';
import { lastMended, merged } from './mends.ts';

/** What was found by which run of all checks, and after which mend. */
interface Found {
  readonly run: number;
  readonly mended: string | null;
  readonly results: readonly CheckResult[];
}

/** What this computer can do, and the fix for what it cannot. */
export default function Checks(): ReactElement {
  const client = useClient();
  const [found, setFound] = useState<Found | null>(null);
  const [error, setError] = useState<ErrorData | null>(null);
  // Raised by the button; each run is one effect, ended when the page is left. A mend that ended is looked at too.
  const [run, setRun] = useState(0);
  const mended = useTables((tables) => lastMended(tables.jobs.values()));
  const [finished, setFinished] = useState(-1);
  const running = finished < run;

  useEffect(() => {
    const abort = new AbortController();
    client.check.run({}, { signal: abort.signal }).then(
      (answer) => {
        setFound((before) => {
          const order = before?.run === run ? before.results : [];
          return { run, mended, results: merged(order, answer.results) };
        });
        setError(null);
        setFinished(run);
      },
      (thrown: unknown) => {
        if (abort.signal.aborted) return;
        setFound(null);
        setError(TapyardError.from(thrown).toData());
        setFinished(run);
      },
    );
    return () => abort.abort();
  }, [client, run, mended]);

  const results = found?.results ?? [];
  const bad = results.filter((result) => result.state !== 'ok').length;
  return (
    <Page
      title="Checks"
      narrow
      lead={
        running
          ? 'Looking at this computer…'
          : results.length > 0
            ? bad === 0
              ? `All ${results.length} checks are fine.`
              : `${count(bad, 'check')} of ${results.length} to look at.`
            : ''
      }
      actions={
        <Button unavailable={running ? 'Checking…' : undefined} onPress={() => setRun(run + 1)}>
          {running ? 'Checking…' : 'Check again'}
        </Button>
      }
    >
      {error ? <ErrorNote title="The checks could not be run" error={error} /> : null}
      <ul className={styles.list}>
        {results.map((result) => (
          <CheckRow key={result.id} result={result} current={found?.mended === mended} />
        ))}
      </ul>
    </Page>
  );
}
