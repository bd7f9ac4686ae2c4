// SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef, type ReactElement } from 'react';
import type { CheckResult } from '../../../electron/contract/rows.ts';
import { CopyButton } from '../../lib/CopyButton.tsx';
import { StateIcon } from '../../lib/StateIcon.tsx';
import { useUi } from '../../store/ui.ts';
import styles from './Checks.module.css';
import { Mend, MendFailure } from './Mend.tsx';

const words = { failed: 'failed', warning: 'warning', ok: 'fine' } as const;

interface CheckRowProps {
  readonly result: CheckResult;
  /** Whether it was looked at since the last mend. */
  readonly current: boolean;
}

/** What one check found, and what to do about it. */
export function CheckRow({ result, current }: CheckRowProps): ReactElement {
  const heading = useRef<HTMLHeadingElement>(null);
  const fine = result.state === 'ok';
  const before = useRef(fine);
  useEffect(() => {
    if (fine && !before.current) {
      useUi.getState().announce(`${result.title} is fine`);
      // The button that mended it has gone, and would take the keyboard's place along.
      if (document.activeElement === document.body) heading.current?.focus();
    }
    before.current = fine;
  }, [fine, result.title]);

  return (
    <li className={styles.check} aria-label={result.title}>
      <div className={styles.state}>
        <StateIcon state={result.state} />
        <span className={styles[result.state]}>{words[result.state]}</span>
      </div>
      <div className={styles.text} data-selectable>
        <h3 ref={heading} tabIndex={-1}>
          {result.title}
        </h3>
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
            {fix.mend === undefined ? null : <Mend check={fix.mend} title={result.title} current={current} />}
          </div>
        ))}
        {fine ? null : <MendFailure check={result.id} />}
      </div>
    </li>
  );
}
