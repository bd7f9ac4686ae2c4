// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { Focusable } from 'react-aria-components';
import { Tip } from '../lib/Tip.tsx';
import { elideMiddle } from '../lib/format.ts';
import { useCore } from '../store/core.ts';
import { useTables, type Row } from '../store/tables.ts';
import styles from './Footer.module.css';

/** What runs the guests, and the file that says what is wanted. */
export function Footer({ lab }: { readonly lab: Row<'labs'> }): ReactElement {
  const host = useTables((tables) => tables.host.get('host'));
  const live = useCore((state) => state.status === 'ready');
  const accelerator = host?.accelerator;
  const engine = [
    host?.qemuVersion ? `QEMU ${host.qemuVersion}` : host ? 'QEMU is missing' : '',
    accelerator ? accelerator.use.toUpperCase() : '',
  ].filter((part) => part !== '');
  const name = lab.file.split('/').pop() ?? lab.file;
  return (
    <footer className={styles.footer}>
      {engine.length > 0 ? (
        <Fact
          text={engine.join(' · ')}
          tip={accelerator?.why ?? 'How fast guests run is found out with the first start.'}
        />
      ) : null}
      {host ? (
        <span>
          {host.user}@{host.hostname}
        </span>
      ) : null}
      <span className={styles.space} />
      <span>{live ? (lab.problems.length > 0 ? 'Has problems' : 'Saved') : 'Not connected'}</span>
      <Fact text={elideMiddle(name, 48)} tip={lab.file} mono />
    </footer>
  );
}

function Fact({
  text,
  tip,
  mono,
}: {
  readonly text: string;
  readonly tip: string;
  readonly mono?: boolean;
}): ReactElement {
  return (
    <Tip text={tip}>
      <Focusable>
        {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a keyboard has to reach the tip */}
        <span role="note" tabIndex={0} className={mono ? styles.mono : undefined}>
          {text}
        </span>
      </Focusable>
    </Tip>
  );
}
