// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { CopyButton } from '../../lib/CopyButton.tsx';
import { useCore } from '../../store/core.ts';
import styles from './NoLab.module.css';

const command = 'tapyard up FILE';
const example = `name: seed
networks:
  br0: { subnet: 192.168.57.0/24, nat: true }
guests:
  guest:
    image: micro
    nics: [{ network: br0, address: 192.168.57.2 }]
`;

/** What to do when no lab is open. */
export function NoLab(): ReactElement {
  const lost = useCore((state) => state.status === 'lost');
  return (
    <main className={styles.page}>
      <div className={styles.text}>
        <h1>No lab is open</h1>
        {lost ? <p role="alert">The core is gone; reconnecting…</p> : null}
        <p>
          A lab is a file that says which networks and guests there are. Bring one up in a terminal and it
          appears here:
        </p>
        <div className={styles.command}>
          <code>{command}</code>
          <CopyButton what="the command" text={command} />
        </div>
        <p>A file to begin with: one network with NAT and one small guest on it.</p>
        <div className={styles.command}>
          <pre>{example}</pre>
          <CopyButton what="the example" text={example} />
        </div>
      </div>
    </main>
  );
}
