// SPDX-License-Identifier: Apache-2.0
import { Trash2 } from 'lucide-react';
import { useRef, useState, type ReactElement } from 'react';
import { TapyardError, type ErrorData } from '../../../electron/contract/error.ts';
import { listeningText } from '../../../electron/contract/lab-file.ts';
import { Button } from '../../lib/Button.tsx';
import { CopyButton } from '../../lib/CopyButton.tsx';
import { ErrorNote } from '../../lib/ErrorNote.tsx';
import { count } from '../../lib/format.ts';
import { useFocusHome } from '../../lib/use-focus-home.ts';
import { useClient } from '../../store/core.ts';
import { useForwards } from '../../store/select.ts';
import type { Row } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import styles from './Forwards.module.css';
import { NewForward } from './NewForward.tsx';
import { Section } from './Section.tsx';

/** The ports of this computer that lead to a guest. */
export function Forwards({ guest }: { readonly guest: Row<'guests'> }): ReactElement {
  const all = useForwards(guest.lab);
  const forwards = all.filter((row) => row.guest === guest.name);
  const [adding, setAdding] = useState(false);
  const can = guest.wanted && guest.nics.length > 0;
  return (
    <Section
      title="Forwards"
      action={
        can && !adding ? (
          <Button size="small" variant="accent" data-opener onPress={() => setAdding(true)}>
            Add forward
          </Button>
        ) : null
      }
    >
      {forwards.length === 0 && !adding ? (
        <p className={styles.empty}>No port of this computer leads to {guest.name}.</p>
      ) : null}
      {forwards.length > 0 ? (
        <ul className={styles.list}>
          {forwards.map((row) => (
            <Forward key={row.id} row={row} />
          ))}
        </ul>
      ) : null}
      {adding ? <NewForward guest={guest} others={all} onClose={() => setAdding(false)} /> : null}
    </Section>
  );
}

const stateWords: Readonly<Record<Row<'forwards'>['state'], string>> = {
  waiting: 'waiting for the guest',
  listening: 'listening',
  blocked: 'NAT is off',
  failed: 'nobody listens',
};

function Forward({ row }: { readonly row: Row<'forwards'> }): ReactElement {
  const client = useClient();
  const [removing, setRemoving] = useState(false);
  const [error, setError] = useState<ErrorData | null>(null);
  const at = listeningText(row);
  const reachable = `${row.at[0] ?? row.address}:${row.port}`;
  const remove = (): void => {
    setRemoving(true);
    const { lab, guest, address, port, protocol } = row;
    client.forward.remove({ lab, guest, address, port, protocol }).then(
      () => useUi.getState().announce(`${at} no longer leads to ${guest}.`),
      (thrown: unknown) => {
        setRemoving(false);
        setError(TapyardError.from(thrown).toData());
      },
    );
  };
  const failure = error ?? row.error;
  const line = useRef<HTMLLIElement>(null);
  useFocusHome(line);
  return (
    <li ref={line} className={styles.row}>
      <span className={styles.way}>
        {at} → {row.to}
      </span>
      <CopyButton text={reachable} what={`address ${reachable}`} />
      <Button
        variant="ghost"
        size="small"
        iconOnly
        aria-label={`Remove forward ${at}`}
        unavailable={removing ? 'Removing…' : undefined}
        onPress={remove}
      >
        <Trash2 aria-hidden />
      </Button>
      <span className={styles.state} data-state={row.state}>
        {stateWords[row.state]}
        {row.state === 'listening' && row.flows ? ` · ${count(row.flows, 'connection')}` : ''}
        {row.address === '127.0.0.1' ? '' : ' · open to the network'}
        {row.way === 'rule' ? ' by a rule' : ''}
      </span>
      {failure ? (
        <div className={styles.error}>
          <ErrorNote error={failure} tone={row.state === 'listening' && !error ? 'warn' : 'bad'} />
        </div>
      ) : null}
    </li>
  );
}
