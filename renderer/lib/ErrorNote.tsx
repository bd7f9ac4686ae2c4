// SPDX-License-Identifier: Apache-2.0
import { X } from 'lucide-react';
import type { ReactElement, ReactNode } from 'react';
import type { ErrorData } from '../../electron/contract/error.ts';
import { adviceOf } from '../../electron/contract/refusal.ts';
import { Button } from './Button.tsx';
import { CopyButton } from './CopyButton.tsx';
import styles from './ErrorNote.module.css';
import { cx } from './class-names.ts';
import { hintParts } from './hint.ts';

interface ErrorNoteProps {
  readonly error: ErrorData;
  /** What was tried, for people. */
  readonly title?: string | undefined;
  readonly onDismiss?: (() => void) | undefined;
  /** Buttons that mend it. */
  readonly children?: ReactNode;
  readonly tone?: 'bad' | 'warn';
}

/** A failure: what happened to what, what to do now, and the code to search for. */
export function ErrorNote({ error, title, onDismiss, children, tone = 'bad' }: ErrorNoteProps): ReactElement {
  return (
    <div
      className={cx(styles.note, styles[tone])}
      role="group"
      aria-label={title ?? 'Failure'}
      data-selectable
    >
      <div className={styles.text}>
        {title === undefined ? null : <strong>{title}</strong>}
        <p className={styles.message}>{error.message}</p>
        {adviceOf(error)
          .flatMap(hintParts)
          .map(({ kind, text }) =>
            kind === 'text' ? (
              <p key={text} className={styles.hint}>
                {text}
              </p>
            ) : (
              <div key={text} className={styles.commands}>
                <pre>
                  {text.split('\n').map((command) => (
                    <code key={command}>{command}</code>
                  ))}
                </pre>
                <CopyButton what="the commands" text={text} />
              </div>
            ),
          )}
        <code className={styles.code}>{error.code}</code>
        {children === undefined ? null : <div className={styles.actions}>{children}</div>}
      </div>
      {onDismiss === undefined ? null : (
        <Button variant="ghost" size="small" iconOnly aria-label="Dismiss" onPress={onDismiss}>
          <X aria-hidden />
        </Button>
      )}
    </div>
  );
}
