// SPDX-License-Identifier: Apache-2.0
import { Trash2 } from 'lucide-react';
import { useState, type ReactElement } from 'react';
import { TapyardError, type ErrorData } from '../../../electron/contract/error.ts';
import { listeningText } from '../../../electron/contract/lab-file.ts';
import { Button } from '../../lib/Button.tsx';
import { CopyButton } from '../../lib/CopyButton.tsx';
import { ErrorNote } from '../../lib/ErrorNote.tsx';
import { Field } from '../../lib/Field.tsx';
import { FieldPair } from '../../lib/Fields.tsx';
import { count } from '../../lib/format.ts';
import { useClient } from '../../store/core.ts';
import { useForwards } from '../../store/select.ts';
import type { Row } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import { SmallForm } from '../forms/SmallForm.tsx';
import { useSubmission } from '../forms/use-submission.ts';
import { useTouched } from '../forms/use-touched.ts';
import styles from './Forwards.module.css';
import { checkForward, portOf, reaches, type ForwardForm } from './forward-form.ts';
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
          <Button size="small" variant="accent" onPress={() => setAdding(true)}>
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
  return (
    <li className={styles.row}>
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

interface NewForwardProps {
  readonly guest: Row<'guests'>;
  readonly others: readonly Row<'forwards'>[];
  readonly onClose: () => void;
}

function NewForward({ guest, others, onClose }: NewForwardProps): ReactElement {
  const client = useClient();
  const [form, setForm] = useState<ForwardForm>({
    port: '',
    to: '',
    address: '127.0.0.1',
    protocol: 'tcp',
  });
  const submission = useSubmission();
  const { formRef, shown, passes } = useTouched(checkForward(form, others));
  const submit = (): void => {
    const port = portOf(form.port);
    const to = portOf(form.to);
    if (!passes() || port === undefined) return;
    const { address, protocol } = form;
    const forward = { port, address, protocol, ...(to === undefined ? {} : { to }) };
    submission.send(
      () => client.forward.add({ lab: guest.lab, guest: guest.name, forward }),
      () => {
        useUi.getState().announce(`${listeningText(forward)} leads to ${guest.name}.`);
        onClose();
      },
    );
  };
  const set = (part: Partial<ForwardForm>): void => setForm((old) => ({ ...old, ...part }));
  return (
    <SmallForm
      label={`New forward to ${guest.name}`}
      formRef={formRef}
      submission={submission}
      submit="Forward"
      refused="The forward was not made"
      onSubmit={submit}
      onCancel={onClose}
    >
      <FieldPair>
        <Field label="Port here" error={shown('port')} mono>
          {(control) => (
            <input
              {...control}
              // eslint-disable-next-line jsx-a11y/no-autofocus -- the form was opened to type here
              autoFocus
              inputMode="numeric"
              autoComplete="off"
              placeholder="8080"
              value={form.port}
              onChange={(event) => set({ port: event.target.value })}
            />
          )}
        </Field>
        <Field label="Guest’s port" error={shown('to')} mono>
          {(control) => (
            <input
              {...control}
              inputMode="numeric"
              autoComplete="off"
              placeholder={form.port === '' ? '80' : form.port}
              value={form.to}
              onChange={(event) => set({ to: event.target.value })}
            />
          )}
        </Field>
      </FieldPair>
      <Field label="Protocol">
        {(control) => (
          <select
            {...control}
            value={form.protocol}
            onChange={(event) => set({ protocol: event.target.value === 'udp' ? 'udp' : 'tcp' })}
          >
            <option value="tcp">TCP</option>
            <option value="udp">UDP (host scope)</option>
          </select>
        )}
      </Field>
      <Field label="Who reaches it" error={shown('address')}>
        {(control) => (
          <select
            {...control}
            value={form.address}
            onChange={(event) => set({ address: event.target.value })}
          >
            {reaches.map(({ address, words }) => (
              <option key={address} value={address}>
                {words} ({address})
              </option>
            ))}
          </select>
        )}
      </Field>
    </SmallForm>
  );
}
