// SPDX-License-Identifier: Apache-2.0
import type { ReactElement, ReactNode } from 'react';
import styles from './Fields.module.css';

/** The fields of a form, one under another. */
export function Fields({ children }: { readonly children: ReactNode }): ReactElement {
  return <div className={styles.fields}>{children}</div>;
}

/** Two short fields beside each other where there is room. */
export function FieldPair({ children }: { readonly children: ReactNode }): ReactElement {
  return <div className={styles.pair}>{children}</div>;
}
