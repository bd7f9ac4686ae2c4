// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import type { GuestState } from '../../electron/contract/rows.ts';
import styles from './StateIcon.module.css';
import { cx } from './class-names.ts';

/** A shape for each state, so that none is told by colour alone. 12 by 12 units. */
const shapes = {
  running: { path: 'M2.5 1.2v9.6L11 6z', tone: 'ok' },
  paused: { path: 'M2 1.5h3v9H2zM7 1.5h3v9H7z', tone: 'warn' },
  'shut off': { path: 'M2 2h8v8H2zM3.4 3.400v5.200h5.200V3.400z', tone: 'off' },
  starting: { path: 'M6 1l4 4H7.300v6H4.700V5H2z', tone: 'accent' },
  'shutting down': { path: 'M6 11L2 7h2.700V1h2.600v6H10z', tone: 'warn' },
  crashed: {
    path: 'M2.600 1L6 4.400 9.400 1 11 2.600 7.600 6 11 9.400 9.400 11 6 7.600 2.600 11 1 9.400 4.400 6 1 2.600z',
    tone: 'bad',
  },
  ok: { path: 'M1.200 6.300l1.500-1.500 2.200 2.200 4.500-4.600 1.500 1.500-6 6.100z', tone: 'ok' },
  warning: {
    path: 'M6 .8L11.600 11H.4zM5.300 4.300v3.400h1.400V4.300zM5.300 8.500v1.400h1.400V8.500z',
    tone: 'warn',
  },
  failed: {
    path: 'M2.600 1L6 4.400 9.400 1 11 2.600 7.600 6 11 9.400 9.400 11 6 7.600 2.600 11 1 9.400 4.400 6 1 2.600z',
    tone: 'bad',
  },
} as const satisfies Record<GuestState | 'ok' | 'warning' | 'failed', { path: string; tone: string }>;

export type StateShape = keyof typeof shapes;

/** The shape of a state. Decoration: the word stands beside it. */
export function StateIcon({ state }: { readonly state: StateShape }): ReactElement {
  const { path, tone } = shapes[state];
  return (
    <svg className={cx(styles.icon, styles[tone])} viewBox="0 0 12 12" fillRule="evenodd" aria-hidden>
      <path d={path} />
    </svg>
  );
}
