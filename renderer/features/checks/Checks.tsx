// SPDX-License-Identifier: Apache-2.0
import { useEffect, useState, type ReactElement } from 'react';
import { TapyardError, type ErrorData } from '../../../electron/contract/error.ts';
import type { CheckResult } from '../../../electron/contract/rows.ts';
import { Button } from '../../lib/Button.tsx';
import { CopyButton } from '../../lib/CopyButton.tsx';
import { ErrorNote } from '../../lib/ErrorNote.tsx';
import { Page } from '../../lib/Page.tsx';
import { StateIcon } from '../../lib/StateIcon.tsx';
import { count } from '../../lib/format.ts';
import { useClient } from '../../store/core.ts';
import styles from './Checks.module.css';

type State = { results: readonly CheckResult[] } | { error: ErrorData } | null;

/** What needs mending first. */
const rank = { failed: 0, warning: 1, ok: 2 } as const;
const words = { failed: 'failed', warning: 'warning', ok: 'fine' } as const;

/** What this computer can do, and the fix for what it cannot. */
export default function Checks(): ReactElement {
  const client = useClient();
  const [state, setState] = useState<State>(null);
  // Raised by the button; each run is one effect, ended when the page is left.
  const [run, setRun] = useState(0);
  const [finished, setFinished] = useState(-1);
  const running = finished < run;

  useEffect(() => {
    const abort = new AbortController();
    client.check.run({}, { signal: abort.signal }).then(
      (answer) => {
        setState({ results: [...answer.results].sort((a, b) => rank[a.state] - rank[b.state]) });
        setFinished(run);
      },
      (thrown: unknown) => {
        if (abort.signal.aborted) return;
        setState({ error: TapyardError.from(thrown).toData() });
        setFinished(run);
      },
    );
    return () => abort.abort();
  }, [client, run]);

  const results = state && 'results' in state ? state.results : [];
  const bad = results.filter((result) => result.state !== 'ok').length;
  return (
    <Page
      title="Checks"
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
      {state && 'error' in state ? (
        <ErrorNote title="The checks could not be run" error={state.error} />
      ) : null}
      <ul className={styles.list}>
        {results.map((result) => (
          <li key={result.id} className={styles.check}>
            <div className={styles.state}>
              <StateIcon state={result.state} />
              <span className={styles[result.state]}>{words[result.state]}</span>
            </div>
            <div className={styles.text} data-selectable>
              <h3>{result.title}</h3>
              <p className={styles.found}>{result.found}</p>
              {result.fixes.map((fix) => (
                <div key={`${fix.text}${fix.command ?? ''}`} className={styles.fix}>
                  <p>{fix.text}</p>
                  {fix.command === undefined ? null : (
                    <div className={styles.command}>
                      <code>{fix.command}</code>
                      <CopyButton what="the command" text={fix.command} />
                    </div>
                  )}
                </div>
              ))}
            </div>
          </li>
        ))}
      </ul>
    </Page>
  );
}
