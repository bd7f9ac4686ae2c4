// SPDX-License-Identifier: Apache-2.0
import { useEffect, useId, useState, type FormEvent, type ReactElement } from 'react';
import { NetworkMode } from '../../../electron/contract/lab-file.ts';
import { Button } from '../../lib/Button.tsx';
import { Dialog, DialogActions } from '../../lib/Dialog.tsx';
import { Field } from '../../lib/Field.tsx';
import { FieldPair, Fields } from '../../lib/Fields.tsx';
import { useClient } from '../../store/core.ts';
import { useGuests, useLab, useLinks, useNetworks } from '../../store/select.ts';
import { useTables, type Row } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import { SaveError } from '../forms/SaveError.tsx';
import { SubmitButton } from '../forms/SubmitButton.tsx';
import { useSubmission } from '../forms/use-submission.ts';
import { useTouched } from '../forms/use-touched.ts';
import styles from './NetworkDialog.module.css';
import {
  candidates,
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

interface FormProps {
  readonly lab: Row<'labs'>;
  readonly edited: Row<'networks'> | null;
}

function Form({ lab, edited }: FormProps): ReactElement {
  const client = useClient();
  const guests = useGuests(lab.id);
  const networks = useNetworks(lab.id);
  const links = useLinks(lab.id);
  const [form, setForm] = useState<NetworkForm>(() => (edited ? formOf(edited) : newForm(networks)));
  const [used, setUsed] = useState<readonly Used[]>([]);
  const { sending, error, send } = useSubmission();
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
  const { formRef, touch, shown, passes } = useTouched(errors);
  const set = (field: FieldName, next: NetworkForm): void => {
    touch(field);
    setForm(next);
  };

  const submit = (fileHash: string): void => {
    if (!passes()) return;
    const definition = definitionOf(form, edited?.definition ?? null);
    const input = { lab: lab.name, network: form.name, definition, fileHash };
    send(
      () => (isNew ? client.network.create(input) : client.network.change(input)),
      () => {
        close();
        useUi.getState().announce(`${form.name} is ${isNew ? 'in the lab file' : 'changed'}.`);
        useUi.getState().select({ kind: 'network', id: `${lab.id}/${form.name}` });
      },
    );
  };
  const onSubmit = (event: FormEvent): void => {
    event.preventDefault();
    submit(lab.fileHash);
  };

  return (
    <Dialog title={edited ? `Edit ${edited.name}` : `Add a network to ${lab.name}`} open onClose={close}>
      <form ref={formRef} onSubmit={onSubmit} noValidate>
        <Fields>
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
            <BridgedFields form={form} shown={shown} set={set} links={links} />
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
              onRetry={submit}
            />
          ) : null}
        </Fields>
        <DialogActions>
          <Button onPress={close}>Cancel</Button>
          <SubmitButton sending={sending}>{isNew ? 'Add network' : 'Save'}</SubmitButton>
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

const viaWords: Readonly<Record<NetworkForm['via'], string>> = {
  uplink: 'A bridge that an administrator made',
  interface: 'An interface that this computer has no use for',
};
const vias = ['uplink', 'interface'] as const;

/** Where the guests of a bridged network are. */
function BridgedFields({
  form,
  shown,
  set,
  links,
}: OwnFieldsProps & { readonly links: readonly Row<'links'>[] }): ReactElement {
  const { via } = form;
  const list = useId();
  return (
    <>
      <Field label="Guests are on">
        {(control) => (
          <select
            {...control}
            value={via}
            onChange={(event) => {
              const next = vias.find((each) => each === event.target.value);
              if (next) set('via', { ...form, via: next });
            }}
          >
            {vias.map((each) => (
              <option key={each} value={each}>
                {viaWords[each]}
              </option>
            ))}
          </select>
        )}
      </Field>
      <Field
        label={via === 'uplink' ? 'Bridge' : 'Interface'}
        error={shown(via)}
        hint={
          via === 'uplink'
            ? 'One that an administrator allows. Who gives addresses there is not Tapyard.'
            : 'A spare card, cable or adapter that an administrator allows: guests are on the network behind it.'
        }
        mono
      >
        {(control) => (
          <input
            {...control}
            autoComplete="off"
            spellCheck={false}
            list={list}
            placeholder={via === 'uplink' ? 'br-lan' : 'eth1'}
            value={form[via]}
            onChange={(event) => set(via, { ...form, [via]: event.target.value.trim() })}
          />
        )}
      </Field>
      <datalist id={list}>
        {candidates(links, via).map((name) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </datalist>
    </>
  );
}

const dhcpWords: Readonly<Record<NetworkForm['dhcp'], string>> = {
  half: 'On, the second half of the subnet',
  range: 'On, a range',
  off: 'Off',
};
const dhcpKinds = ['half', 'range', 'off'] as const;

/** How the LAN reaches the guests of a routed network. */
function RoutedField({ form, set }: Pick<OwnFieldsProps, 'form' | 'set'>): ReactElement {
  return (
    <Field
      label="Reached from the LAN"
      hint={
        form.proxyArp
          ? 'This computer answers the LAN’s ARP for its guests, so they have addresses of the LAN where a bridge cannot be, as behind Wi-Fi. An administrator allows it, and the LAN’s DHCP leaves the subnet out.'
          : undefined
      }
    >
      {(control) => (
        <select
          {...control}
          value={form.proxyArp ? 'proxyArp' : 'route'}
          onChange={(event) => set('proxyArp', { ...form, proxyArp: event.target.value === 'proxyArp' })}
        >
          <option value="route">By a route: its router sends the subnet to this computer</option>
          <option value="proxyArp">By proxy ARP: the subnet is a part of its own</option>
        </select>
      )}
    </Field>
  );
}

/** What a network with a bridge of its own has. */
function OwnFields({ form, shown, set }: OwnFieldsProps): ReactElement {
  return (
    <>
      {form.mode === 'routed' ? <RoutedField form={form} set={set} /> : null}
      <FieldPair>
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
      </FieldPair>
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
        <FieldPair>
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
        </FieldPair>
      ) : null}
    </>
  );
}
