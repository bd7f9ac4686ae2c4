// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { Button } from '../lib/Button.tsx';
import { ErrorNote } from '../lib/ErrorNote.tsx';
import { useCore } from '../store/core.ts';
import styles from './Connecting.module.css';

/** What is there before the core has answered: the frame's outline, and why it takes long when it does. */
export function Connecting(): ReactElement {
  const error = useCore((state) => state.error);
  return (
    <div className={styles.frame} aria-busy={error === null}>
      <div className={styles.header} />
      <div className={styles.nav} />
      <div className={styles.work}>
        {error === null ? (
          <p role="status">Connecting to the core…</p>
        ) : (
          <div className={styles.error} role="alert">
            <ErrorNote error={error} title="The window cannot reach the core">
              <Button onPress={() => location.reload()}>Load the page anew</Button>
            </ErrorNote>
            <p className={styles.again}>It is tried again every few seconds.</p>
          </div>
        )}
      </div>
      <div className={styles.footer} />
    </div>
  );
}
