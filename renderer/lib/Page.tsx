// SPDX-License-Identifier: Apache-2.0
import type { ReactElement, ReactNode } from 'react';
import styles from './Page.module.css';

interface PageProps {
  readonly title: string;
  readonly lead?: string;
  readonly actions?: ReactNode;
  readonly children: ReactNode;
}

/** A place that is a page: a title, what there is to say about all of it, and the content. */
export function Page({ title, lead, actions, children }: PageProps): ReactElement {
  return (
    <div className={styles.page}>
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
