// SPDX-License-Identifier: Apache-2.0
import { useId, type ReactElement } from 'react';
import { Switch as AriaSwitch, type SwitchProps as AriaSwitchProps } from 'react-aria-components';
import styles from './Switch.module.css';

interface SwitchProps extends Omit<AriaSwitchProps, 'className' | 'style' | 'children'> {
  readonly children: string;
  readonly description?: string;
}

/** Something that is on or off at once, with its word. */
export function Switch({ children, description, ...rest }: SwitchProps): ReactElement {
  const id = useId();
  return (
    <div>
      <AriaSwitch
        {...rest}
        className={styles.switch ?? ''}
        {...(description === undefined ? {} : { 'aria-describedby': id })}
      >
        <span className={styles.track} aria-hidden />
        {children}
      </AriaSwitch>
      {description === undefined ? null : (
        <p id={id} className={styles.description}>
          {description}
        </p>
      )}
    </div>
  );
}
