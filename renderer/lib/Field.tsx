// SPDX-License-Identifier: Apache-2.0
import { useId, type ReactElement, type ReactNode } from 'react';
import styles from './Field.module.css';
import { cx } from './class-names.ts';

/** What a control needs to be tied to its label, hint and error. */
export interface ControlProps {
  readonly id: string;
  readonly 'aria-describedby': string | undefined;
  readonly 'aria-invalid': true | undefined;
  readonly className: string;
}

interface FieldProps {
  readonly label: string;
  readonly hint?: ReactNode;
  /** What is wrong, shown under the control and read with it. */
  readonly error?: string | undefined;
  readonly mono?: boolean;
  readonly children: (control: ControlProps) => ReactNode;
}

/** A labelled control with its hint and error under it. */
export function Field({ label, hint, error, mono, children }: FieldProps): ReactElement {
  const id = useId();
  const described = [hint === undefined ? '' : `${id}-hint`, error === undefined ? '' : `${id}-error`]
    .filter(Boolean)
    .join(' ');
  return (
    <div className={styles.field}>
      <label htmlFor={id} className={styles.label}>
        {label}
      </label>
      {children({
        id,
        'aria-describedby': described === '' ? undefined : described,
        'aria-invalid': error === undefined ? undefined : true,
        className: cx(styles.control, mono && styles.mono),
      })}
      {error === undefined ? null : (
        <p id={`${id}-error`} className={styles.error}>
          {error}
        </p>
      )}
      {hint === undefined ? null : (
        <p id={`${id}-hint`} className={styles.hint}>
          {hint}
        </p>
      )}
    </div>
  );
}
