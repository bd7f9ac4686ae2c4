// SPDX-License-Identifier: Apache-2.0
import type { ReactElement, ReactNode } from 'react';
import { elideMiddle } from '../../lib/format.ts';
import styles from './Head.module.css';

interface HeadProps {
  readonly icon?: ReactNode;
  readonly name: string;
  readonly lead: string;
  readonly children?: ReactNode;
}

/** Its buttons beside each other. */
export function HeadActions({ children }: { readonly children: ReactNode }): ReactElement {
  return <div className={styles.actions}>{children}</div>;
}

/** The head of an inspector: what it is, how it is, what can be done. */
export function Head({ icon, name, lead, children }: HeadProps): ReactElement {
  return (
    <div className={styles.head}>
      <h2 title={name}>
        {icon}
        {elideMiddle(name, 26)}
      </h2>
      <p className={styles.lead}>{lead}</p>
      {children}
    </div>
  );
}
