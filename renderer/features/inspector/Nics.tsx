// SPDX-License-Identifier: Apache-2.0
import { Trash2 } from 'lucide-react';
import { useState, type ReactElement } from 'react';
import { TapyardError, type ErrorData } from '../../../electron/contract/error.ts';
import { isShape, shapeText } from '../../../electron/contract/shape.ts';
import { canChangeNics } from '../../commands/rules.ts';
import { Button } from '../../lib/Button.tsx';
import { ErrorNote } from '../../lib/ErrorNote.tsx';
import { Field } from '../../lib/Field.tsx';
import { FieldPair } from '../../lib/Fields.tsx';
import { useClient } from '../../store/core.ts';
import { useGuests, useLinks, useNetworks } from '../../store/select.ts';
import { useTables, type Row } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import { SmallForm } from '../forms/SmallForm.tsx';
import { useSubmission } from '../forms/use-submission.ts';
import { addressError } from '../guests/new-guest.ts';
import styles from './Nics.module.css';
import { Fact, Facts, Section } from './Section.tsx';
import { ShapeNic } from './ShapeNic.tsx';

/** As many as the lab file takes. */
const most = 8;

/** The cables of a guest, and more and fewer of them: at once where it runs. */
export function Nics({ guest }: { readonly guest: Row<'guests'> }): ReactElement {
  const links = useLinks(guest.lab);
  const networks = useNetworks(guest.lab);
  const [adding, setAdding] = useState(false);
  const [shaping, setShaping] = useState<string | null>(null);
  const [error, setError] = useState<ErrorData | null>(null);
  const can = canChangeNics(guest);
  const unavailable = can === true ? undefined : can;
  const more = wanted(networks).length === 0 ? 'add a network first' : full(guest);
  return (
    <Section
      title="Network"
      action={
        adding ? null : (
          <Button
            size="small"
            variant="accent"
            unavailable={unavailable ?? more}
            onPress={() => setAdding(true)}
          >
            Add NIC
          </Button>
        )
      }
    >
      {guest.nics.length === 0 ? <p>This guest has no NIC.</p> : null}
      {guest.nics.map((nic) => {
        const network = networks.find((other) => other.name === nic.network);
        const tap = nic.tap ?? nic.wantedTap;
        const link = links.find((other) => other.name === nic.tap);
        const gateway =
          network?.observed?.addresses.find((address) => !address.includes(':'))?.split('/')[0] ??
          network?.wanted?.address;
        return (
          <div key={nic.mac} className={styles.nic}>
            <Facts>
              <Fact
                name="Cable"
                value={`eth${nic.index} ↔ ${tap}`}
                note={nic.tap === null ? '(not plugged)' : nic.fd === null ? undefined : `(fd ${nic.fd})`}
              />
              <Fact
                name="Network"
                value={nic.network}
                note={link && !link.carrier ? 'no carrier' : undefined}
              />
              <Fact name="MAC" value={nic.mac} copy />
              <Fact
                name="Address"
                value={nic.address}
                copy
                note={
                  nic.addressSource === null
                    ? undefined
                    : `${nic.addressSource}${guest.state === 'running' && !nic.leased ? ', no lease yet' : ''}`
                }
              />
              <Fact name="Gateway" value={gateway} />
              <Fact name="Name" value={nic.address === null ? null : `${guest.name}.lab`} copy />
              <Fact name="Held to" value={heldTo(nic)} note={shapeNote(nic)} />
            </Facts>
            {shaping === nic.mac ? (
              <ShapeNic guest={guest} nic={nic} onClose={() => setShaping(null)} />
            ) : (
              <Button
                size="small"
                className={styles.shape}
                aria-label={`Bandwidth, delay, loss… of eth${nic.index}`}
                onPress={() => setShaping(nic.mac)}
              >
                Bandwidth, delay, loss…
              </Button>
            )}
            {can === true ? <RemoveNic guest={guest} nic={nic} onError={setError} /> : null}
          </div>
        );
      })}
      {error ? <ErrorNote title="The NIC was not removed" error={error} /> : null}
      {adding && can === true ? <NewNic guest={guest} onClose={() => setAdding(false)} /> : null}
    </Section>
  );
}

type Nic = Row<'guests'>['nics'][number];

const heldTo = ({ shape }: Nic): string | null => (isShape(shape) ? shapeText(shape) : null);

/** Where the lab file says something else. */
function shapeNote({ shape, wantedShape }: Nic): string | undefined {
  const [now, file] = [shapeText(shape), shapeText(wantedShape)];
  return now === '' || now === file ? undefined : `the lab file says ${file === '' ? 'nothing' : file}`;
}

interface RemoveNicProps {
  readonly guest: Row<'guests'>;
  readonly nic: Row<'guests'>['nics'][number];
  readonly onError: (error: ErrorData | null) => void;
}

function RemoveNic({ guest, nic, onError }: RemoveNicProps): ReactElement {
  const client = useClient();
  const fileHash = useFileHash(guest.lab);
  const [removing, setRemoving] = useState(false);
  const { index } = nic;
  const label = `Remove NIC eth${index}`;
  const remove = (): void => {
    setRemoving(true);
    onError(null);
    client.guest
      .removeNic({ lab: guest.lab, guest: guest.name, nic: index, fileHash })
      .then(
        () => useUi.getState().announce(`The NIC eth${index} of ${guest.name} is removed.`),
        (thrown: unknown) => onError(TapyardError.from(thrown).toData()),
      )
      .finally(() => setRemoving(false));
  };
  return (
    <>
      {removing && guest.state === 'running' ? (
        <p role="status">{`Waiting until ${guest.name} lets go of eth${index}…`}</p>
      ) : null}
      <Button
        variant="ghost"
        size="small"
        iconOnly
        aria-label={label}
        tip={label}
        unavailable={removing ? 'Removing…' : undefined}
        className={styles.remove}
        onPress={remove}
      >
        <Trash2 aria-hidden />
      </Button>
    </>
  );
}

/** Of the lab's file as this window has seen it. */
const useFileHash = (lab: string): string => useTables((tables) => tables.labs.get(lab)?.fileHash ?? '');

const wanted = (networks: readonly Row<'networks'>[]): Row<'networks'>[] =>
  networks.filter((network) => network.wanted !== null);

const full = ({ name, nics }: Row<'guests'>): string | undefined =>
  nics.length < most ? undefined : `${name} has ${most} NICs, which is the most`;

function NewNic({
  guest,
  onClose,
}: {
  readonly guest: Row<'guests'>;
  readonly onClose: () => void;
}): ReactElement {
  const client = useClient();
  const guests = useGuests(guest.lab);
  const networks = wanted(useNetworks(guest.lab));
  const fileHash = useFileHash(guest.lab);
  const [name, setName] = useState(networks[0]?.name ?? '');
  const [address, setAddress] = useState('');
  const submission = useSubmission();
  const network = networks.find((other) => other.name === name);
  const running = guest.state === 'running';
  const wrong = network && address !== '' ? addressError(address, network, guests) : undefined;
  const submit = (): void => {
    if (wrong !== undefined) return;
    const nic = { network: name, ...(address === '' ? {} : { address }) };
    submission.send(
      () => client.guest.addNic({ lab: guest.lab, guest: guest.name, nic, fileHash }),
      () => {
        onClose();
        useUi.getState().announce(`${guest.name} has a NIC on ${name}.`);
      },
    );
  };
  return (
    <SmallForm
      label={`New NIC of ${guest.name}`}
      submission={submission}
      submit="Add NIC"
      sendingText={running ? 'Plugging in…' : undefined}
      refused="The NIC was not added"
      onSubmit={submit}
      onCancel={onClose}
    >
      <FieldPair>
        <Field label="Network" hint={running ? 'Plugged in at once.' : 'With its next start.'}>
          {(control) => (
            <select
              {...control}
              // eslint-disable-next-line jsx-a11y/no-autofocus -- the form has just been asked for
              autoFocus
              value={name}
              onChange={(event) => setName(event.target.value)}
            >
              {networks.map((other) => (
                <option key={other.id} value={other.name}>
                  {other.name}
                </option>
              ))}
            </select>
          )}
        </Field>
        <Field label="Address" error={wrong} hint="Empty: DHCP picks one." mono>
          {(control) => (
            <input
              {...control}
              autoComplete="off"
              placeholder="by DHCP"
              value={address}
              onChange={(event) => setAddress(event.target.value.trim())}
            />
          )}
        </Field>
      </FieldPair>
    </SmallForm>
  );
}
