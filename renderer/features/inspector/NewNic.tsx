// SPDX-License-Identifier: Apache-2.0
import { useState, type ReactElement } from 'react';
import { ChoiceField } from '../../lib/ChoiceField.tsx';
import { Field } from '../../lib/Field.tsx';
import { FieldPair } from '../../lib/Fields.tsx';
import { useClient } from '../../store/core.ts';
import { useGuests } from '../../store/select.ts';
import { useTables, type Row } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import { SmallForm } from '../forms/SmallForm.tsx';
import { useSubmission } from '../forms/use-submission.ts';
import { addressError } from '../guests/new-guest.ts';

interface NewNicProps {
  readonly guest: Row<'guests'>;
  /** Those that it can be on. */
  readonly networks: readonly Row<'networks'>[];
  readonly onClose: () => void;
}

/** Gives a guest one more NIC, at once where it runs. */
export function NewNic({ guest, networks, onClose }: NewNicProps): ReactElement {
  const client = useClient();
  const guests = useGuests(guest.lab);
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
        <ChoiceField
          label="Network"
          hint={running ? 'Plugged in at once.' : 'With its next start.'}
          first
          value={name}
          choices={networks.map((other) => [other.name, other.name])}
          onChoose={setName}
        />
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

/** Of the lab's file as this window has seen it. */
export const useFileHash = (lab: string): string =>
  useTables((tables) => tables.labs.get(lab)?.fileHash ?? '');
