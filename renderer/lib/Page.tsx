// SPDX-License-Identifier: Apache-2.0
import type { ReactElement, ReactNode } from 'react';
import styles from './Page.module.css';
import { cx } from './class-names.ts';

interface PageProps {
  readonly title: string;
  readonly lead?: string;
  readonly actions?: ReactNode;
  /** For what is read rather than looked up: lines that are not too long. */
  readonly narrow?: boolean;
  readonly children: ReactNode;
}

/** A place that is a page: a title, what there is to say about all of it, and the content. */
export function Page({ title, lead, actions, narrow = false, children }: PageProps): ReactElement {
  return (
    <div className={cx(styles.page, narrow && styles.narrow)}>
      <div className={styles.head}>
        <div>
          <h1 className={styles.title}>{title}</h1>
          {lead === undefined ? null : (
            <p className={styles.lead} role="status">
              {lead}
            </p>
          )}
        </div>
        <div className={styles.actions}>{actions}</div>
      </div>
      {children}
    </div>
  );
}
