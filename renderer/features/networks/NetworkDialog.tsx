// SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef, useState, type FormEvent, type ReactElement } from 'react';
import { TapyardError, type ErrorData } from '../../../electron/contract/error.ts';
import { NetworkMode } from '../../../electron/contract/lab-file.ts';
import { Button } from '../../lib/Button.tsx';
import { Dialog, DialogActions } from '../../lib/Dialog.tsx';
import { ErrorNote } from '../../lib/ErrorNote.tsx';
import { Field } from '../../lib/Field.tsx';
import { useClient } from '../../store/core.ts';
import { useGuests, useLab, useNetworks } from '../../store/select.ts';
import { useTables, type Row } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import styles from './NetworkDialog.module.css';
import {
  checkForm,
  consequences,
  definitionOf,
  formOf,
  modeWords,
  newForm,
  withDhcp,
  withSubnet,
  type FieldName,
  type NetworkForm,
  type Used,
} from './network-form.ts';

/** The form that writes a network into the lab file. `network` is the id of the one that is edited. */
export default function NetworkDialog({ network }: { readonly network: string | null }): ReactElement | null {
  const lab = useLab();
  const edited = useTables((tables) => (network === null ? null : tables.networks.get(network)));
  return lab && edited !== undefined ? <Form lab={lab} edited={edited} /> : null;
}

const close = (): void => useUi.setState({ networkForm: null });

const fields: readonly FieldName[] = ['name', 'mode', 'uplink', 'subnet', 'dhcp', 'from', 'to', 'mtu'];

interface FormProps {
  readonly lab: Row<'labs'>;
  readonly edited: Row<'networks'> | null;
}

function Form({ lab, edited }: FormProps): ReactElement {
  const client = useClient();
  const guests = useGuests(lab.id);
  const networks = useNetworks(lab.id);
  const [form, setForm] = useState<NetworkForm>(() => (edited ? formOf(edited) : newForm(networks)));
  const [touched, setTouched] = useState<ReadonlySet<FieldName>>(new Set());
  const [used, setUsed] = useState<readonly Used[]>([]);
  const [sending, setSending] = useState(false);
  const [error, setError] = useState<ErrorData | null>(null);
  const element = useRef<HTMLFormElement>(null);
  const isNew = edited === null;

  useEffect(() => {
    const abort = new AbortController();
    client.network.subnets({ lab: lab.name }, { signal: abort.signal }).then(
      (answer) => {
        setUsed(answer.used);
        if (isNew) setForm((old) => (old.subnet === '' ? withSubnet(old, answer.free) : old));
      },
      // Without a suggestion a subnet can still be typed.
      () => {},
    );
    return () => abort.abort();
  }, [client, lab.name, isNew]);

  const around = { scope: lab.scope, edited, networks, guests, used };
  const errors = checkForm(form, around);
  const notes = Object.keys(errors).length > 0 ? [] : consequences(form, around);
  const shown = (field: FieldName): string | undefined => (touched.has(field) ? errors[field] : undefined);
  const set = (field: FieldName, next: NetworkForm): void => {
    setTouched((old) => new Set([...old, field]));
    setForm(next);
  };

  const submit = async (fileHash: string): Promise<void> => {
    setTouched(new Set(fields));
    if (Object.keys(errors).length > 0) {
      // Where to go on; the message is read with the field.
      requestAnimationFrame(() => element.current?.querySelector<HTMLElement>('[aria-invalid]')?.focus());
      return;
    }
    setSending(true);
    setError(null);
    const definition = definitionOf(form, edited?.definition ?? null);
    const input = { lab: lab.name, network: form.name, definition, fileHash };
    try {
      await (isNew ? client.network.create(input) : client.network.change(input));
      close();
      useUi.getState().announce(`${form.name} is ${isNew ? 'in the lab file' : 'changed'}.`);
      useUi.getState().select({ kind: 'network', id: `${lab.id}/${form.name}` });
    } catch (thrown) {
      setError(TapyardError.from(thrown).toData());
      setSending(false);
    }
  };
  const onSubmit = (event: FormEvent): void => {
    event.preventDefault();
    void submit(lab.fileHash);
  };

  return (
    <Dialog title={edited ? `Edit ${edited.name}` : `Add a network to ${lab.name}`} open onClose={close}>
      <form ref={element} onSubmit={onSubmit} noValidate>
        <div className={styles.fields}>
          {isNew ? (
            <Field label="Name" error={shown('name')} hint="Its bridge’s name: at most 15 characters." mono>
              {(control) => (
                <input
                  {...control}
                  // eslint-disable-next-line jsx-a11y/no-autofocus -- the first thing to decide in a form just opened
                  autoFocus
                  autoComplete="off"
                  spellCheck={false}
                  value={form.name}
                  onFocus={(event) => event.target.select()}
                  onChange={(event) => set('name', { ...form, name: event.target.value })}
                />
              )}
            </Field>
          ) : null}
          <Field label="Mode" error={shown('mode')}>
            {(control) => (
              <select
                {...control}
                value={form.mode}
                onChange={(event) => set('mode', { ...form, mode: NetworkMode.parse(event.target.value) })}
              >
                {NetworkMode.options.map((mode) => (
                  <option key={mode} value={mode}>
                    {modeWords[mode]}
                  </option>
                ))}
              </select>
            )}
          </Field>
          {form.mode === 'bridged' ? (
            <Field
              label="Bridge"
              error={shown('uplink')}
              hint="One that an administrator made and allows. Who gives addresses there is not Tapyard."
              mono
            >
              {(control) => (
                <input
                  {...control}
                  autoComplete="off"
                  spellCheck={false}
                  placeholder="br-lan"
                  value={form.uplink}
                  onChange={(event) => set('uplink', { ...form, uplink: event.target.value })}
                />
              )}
            </Field>
          ) : (
            <OwnFields form={form} shown={shown} set={set} />
          )}
          {notes.length > 0 ? (
            <ul className={styles.notes} aria-label="What it does to guests">
              {notes.map((note) => (
                <li key={note}>{note}</li>
              ))}
            </ul>
          ) : null}
          {isNew && lab.state !== 'up' ? (
            <p className={styles.note}>It is made with the lab, which is {lab.state}.</p>
          ) : null}
          {error ? (
            <SaveError
              title={isNew ? 'The network was not added' : `${form.name} was not changed`}
              error={error}
              lab={lab.id}
              onRetry={(hash) => void submit(hash)}
            />
          ) : null}
        </div>
        <DialogActions>
          <Button onPress={close}>Cancel</Button>
          <Button variant="primary" type="submit" unavailable={sending ? 'Writing the lab file…' : undefined}>
            {sending ? 'Writing…' : isNew ? 'Add network' : 'Save'}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}

interface OwnFieldsProps {
  readonly form: NetworkForm;
  readonly shown: (field: FieldName) => string | undefined;
  readonly set: (field: FieldName, next: NetworkForm) => void;
}

const dhcpWords: Readonly<Record<NetworkForm['dhcp'], string>> = {
  half: 'On, the second half of the subnet',
  range: 'On, a range',
  off: 'Off',
};
const dhcpKinds = ['half', 'range', 'off'] as const;

/** What a network with a bridge of its own has. */
function OwnFields({ form, shown, set }: OwnFieldsProps): ReactElement {
  return (
    <>
      <div className={styles.pair}>
        <Field label="Subnet" error={shown('subnet')} hint="The bridge takes its first address." mono>
          {(control) => (
            <input
              {...control}
              autoComplete="off"
              spellCheck={false}
              placeholder="192.168.57.0/24"
              value={form.subnet}
              onChange={(event) => set('subnet', withSubnet(form, event.target.value.trim()))}
            />
          )}
        </Field>
        <Field label="MTU" error={shown('mtu')} hint="Bytes." mono>
          {(control) => (
            <input
              {...control}
              inputMode="numeric"
              autoComplete="off"
              placeholder="1500"
              value={form.mtu}
              onChange={(event) => set('mtu', { ...form, mtu: event.target.value.trim() })}
            />
          )}
        </Field>
      </div>
      <Field label="DHCP" error={shown('dhcp')} hint="For guests without an address of their own.">
        {(control) => (
          <select
            {...control}
            value={form.dhcp}
            onChange={(event) => {
              const dhcp = dhcpKinds.find((kind) => kind === event.target.value);
              if (dhcp) set('dhcp', withDhcp(form, dhcp));
            }}
          >
            {dhcpKinds.map((kind) => (
              <option key={kind} value={kind}>
                {dhcpWords[kind]}
              </option>
            ))}
          </select>
        )}
      </Field>
      {form.dhcp === 'range' ? (
        <div className={styles.pair}>
          {(['from', 'to'] as const).map((end) => (
            <Field key={end} label={end === 'from' ? 'From' : 'To'} error={shown(end)} mono>
              {(control) => (
                <input
                  {...control}
                  autoComplete="off"
                  spellCheck={false}
                  value={form[end]}
                  onChange={(event) => set(end, { ...form, [end]: event.target.value.trim() })}
                />
              )}
            </Field>
          ))}
        </div>
      ) : null}
    </>
  );
}

interface SaveErrorProps {
  readonly title: string;
  readonly error: ErrorData;
  readonly lab: string;
  readonly onRetry: (fileHash: string) => void;
}

/** Why nothing was written. A file that was edited meanwhile is no reason to type all of it again. */
function SaveError({ title, error, lab, onRetry }: SaveErrorProps): ReactElement {
  const hash = useTables((tables) => tables.labs.get(lab)?.fileHash);
  return (
    <div role="alert">
      <ErrorNote title={title} error={error}>
        {error.code === 'LAB_FILE_CHANGED' && hash !== undefined ? (
          <Button size="small" onPress={() => onRetry(hash)}>
            Try again on the file as it is now
          </Button>
        ) : null}
      </ErrorNote>
    </div>
  );
}
