// SPDX-License-Identifier: Apache-2.0
import { adviceOf } from '../../electron/contract/refusal.ts';
import { KeyRound } from 'lucide-react';
import { useState, type ReactElement } from 'react';
import { runningJob } from '../commands/lab.ts';
import { commandState } from '../commands/run.ts';
import { Button } from '../lib/Button.tsx';
import { CopyButton } from '../lib/CopyButton.tsx';
import { count } from '../lib/format.ts';
import { useCore } from '../store/core.ts';
import { type Row, useTables } from '../store/tables.ts';
import { useUi } from '../store/ui.ts';
import styles from './Banners.module.css';
import { cx } from '../lib/class-names.ts';

/** What concerns the whole window: no core, a question by somebody else, a lab file with problems, a lab that failed. */
export function Banners({ lab }: { readonly lab: Row<'labs'> }): ReactElement {
  const status = useCore((state) => state.status);
  const error = useCore((state) => state.error);
  const asks = useTables((tables) => runningJob({ ...commandState(), tables }, lab.id)?.asks ?? null);
  return (
    <div className={styles.banners}>
      {status === 'lost' ? (
        <div className={cx(styles.banner, styles.warn)} role="alert">
          <strong>The core is gone; reconnecting…</strong>
          <span>Guests run on. What you see is what was there last.</span>
          {error === null || error.code === 'CORE_UNREACHABLE' ? null : <span>{error.message}</span>}
          {error?.hint === undefined ? null : <span className={styles.muted}>{error.hint}</span>}
        </div>
      ) : null}
      {status === 'mismatch' ? (
        <div className={cx(styles.banner, styles.warn)} role="alert">
          <strong>Tapyard was updated.</strong>
          <span>{error?.message ?? 'The core speaks another version of the contract than this page.'}</span>
          <Button size="small" onPress={() => location.reload()}>
            Load the page anew
          </Button>
        </div>
      ) : null}
      {asks === null ? null : (
        <div className={cx(styles.banner, styles.asks)} role="status">
          <KeyRound aria-hidden />
          <span>{asks}</span>
        </div>
      )}
      {lab.problems.length > 0 ? <FileProblems lab={lab} /> : null}
      {lab.error ? (
        <div className={cx(styles.banner, styles.bad)} role="alert">
          <p className={styles.text}>
            <strong>{lab.name}:</strong> {lab.error.message}{' '}
            {adviceOf(lab.error).map((text) => (
              <span key={text} className={styles.muted}>
                {text}{' '}
              </span>
            ))}
            <code>{lab.error.code}</code>
          </p>
          <Button size="small" onPress={() => useUi.getState().show('checks')}>
            Check this computer
          </Button>
        </div>
      ) : null}
    </div>
  );
}

/** Each problem of the lab file with its place. */
function FileProblems({ lab }: { readonly lab: Row<'labs'> }): ReactElement {
  const [all, setAll] = useState(false);
  const shown = all ? lab.problems : lab.problems.slice(0, 1);
  return (
    <div className={cx(styles.banner, styles.bad)} role="alert" data-selectable>
      <div className={styles.text}>
        <strong>
          {count(lab.problems.length, 'problem')} in the lab file; the last good one stays in force.
        </strong>
        <ol>
          {shown.map((problem) => (
            <li key={`${problem.line}:${problem.column}:${problem.message}`}>
              <code>
                {lab.file.split('/').pop()}:{problem.line}:{problem.column}
              </code>{' '}
              {problem.path === '' ? null : <code className={styles.muted}>{problem.path}</code>}{' '}
              {problem.message}
              {problem.expected === undefined ? null : (
                <span className={styles.muted}> (expected {problem.expected})</span>
              )}
            </li>
          ))}
        </ol>
      </div>
      {lab.problems.length > 1 ? (
        <Button size="small" aria-expanded={all} onPress={() => setAll(!all)}>
          {all ? 'Show the first only' : `Show all ${lab.problems.length}`}
        </Button>
      ) : null}
      <CopyButton what="the file's path" text={lab.file} />
    </div>
  );
}
