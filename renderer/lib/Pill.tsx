// SPDX-License-Identifier: Apache-2.0
import type { ReactElement, ReactNode } from 'react';
import { Focusable } from 'react-aria-components';
import styles from './Pill.module.css';
import { Tip } from './Tip.tsx';
import { cx } from './class-names.ts';

interface PillProps {
  readonly tone?: 'plain' | 'ok' | 'warn' | 'bad' | 'accent';
  readonly tip?: string | undefined;
  readonly children: ReactNode;
}

/** A small fact in a rounded frame. With a tip it can be focused, so that keyboards reach the tip too. */
export function Pill({ tone = 'plain', tip, children }: PillProps): ReactElement {
  const className = cx(styles.pill, styles[tone]);
  if (tip === undefined) return <span className={className}>{children}</span>;
  return (
    <Tip text={tip}>
      <Focusable>
        {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a keyboard has to reach the tip */}
        <span className={className} role="note" tabIndex={0}>
          {children}
        </span>
      </Focusable>
    </Tip>
  );
}
