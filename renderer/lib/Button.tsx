// SPDX-License-Identifier: Apache-2.0
import type { ReactElement, ReactNode, Ref } from 'react';
import { Button as AriaButton, type ButtonProps as AriaButtonProps } from 'react-aria-components';
import styles from './Button.module.css';
import { cx } from './class-names.ts';
import { Tip } from './Tip.tsx';

export interface ButtonProps extends Omit<
  AriaButtonProps,
  'className' | 'style' | 'children' | 'isDisabled'
> {
  readonly variant?: 'plain' | 'primary' | 'accent' | 'ghost' | 'danger';
  readonly size?: 'normal' | 'small';
  /** A square button that shows an icon only; it needs an `aria-label`. */
  readonly iconOnly?: boolean;
  /** Why it cannot be pressed. It stays focusable, so that a keyboard can reach the reason. */
  readonly unavailable?: string | undefined;
  /** What a tooltip says; `unavailable` goes before it. */
  readonly tip?: string | undefined;
  readonly className?: string | undefined;
  readonly ref?: Ref<HTMLButtonElement>;
  readonly children: ReactNode;
}

/** A button. One that cannot be pressed says why. */
export function Button(props: ButtonProps): ReactElement {
  const {
    variant = 'plain',
    size = 'normal',
    iconOnly,
    unavailable,
    tip,
    className,
    onPress,
    ...rest
  } = props;
  return (
    <Tip text={unavailable ?? tip}>
      <AriaButton
        {...rest}
        {...(unavailable === undefined ? { onPress: onPress ?? (() => {}) } : { 'aria-disabled': true })}
        className={cx(
          styles.button,
          styles[variant],
          size === 'small' && styles.small,
          iconOnly && styles.iconOnly,
          unavailable !== undefined && styles.unavailable,
          className,
        )}
      />
    </Tip>
  );
}
