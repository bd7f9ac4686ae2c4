// SPDX-License-Identifier: Apache-2.0
import type { ReactElement, ReactNode } from 'react';
import { Label, Radio as AriaRadio, RadioGroup as AriaRadioGroup } from 'react-aria-components';
import styles from './RadioGroup.module.css';

interface RadioGroupProps {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly children: ReactNode;
}

/** One of a few. */
export function RadioGroup({ label, value, onChange, children }: RadioGroupProps): ReactElement {
  return (
    <AriaRadioGroup className={styles.group ?? ''} value={value} onChange={onChange} orientation="horizontal">
      <Label className={styles.label ?? ''}>{label}</Label>
      <div className={styles.choices}>{children}</div>
    </AriaRadioGroup>
  );
}

/** One choice of a {@link RadioGroup}. */
export function Radio({
  value,
  children,
}: {
  readonly value: string;
  readonly children: string;
}): ReactElement {
  return (
    <AriaRadio value={value} className={styles.radio ?? ''}>
      <span className={styles.dot} aria-hidden />
      {children}
    </AriaRadio>
  );
}
