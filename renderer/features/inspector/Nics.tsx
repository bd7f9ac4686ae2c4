// SPDX-License-Identifier: Apache-2.0
import { useState, type ReactElement } from 'react';
import type { ErrorData } from '../../../electron/contract/error.ts';
import { canChangeNics } from '../../commands/rules.ts';
import { Button } from '../../lib/Button.tsx';
import { ErrorNote } from '../../lib/ErrorNote.tsx';
import { useNetworks } from '../../store/select.ts';
import type { Row } from '../../store/tables.ts';
import { NewNic } from './NewNic.tsx';
import { NicFacts } from './NicFacts.tsx';
import { Section } from './Section.tsx';

/** As many as the lab file takes. */
const most = 8;

/** The cables of a guest, and more and fewer of them: at once where it runs. */
export function Nics({ guest }: { readonly guest: Row<'guests'> }): ReactElement {
  const networks = useNetworks(guest.lab).filter((network) => network.wanted !== null);
  const [adding, setAdding] = useState(false);
  const [error, setError] = useState<ErrorData | null>(null);
  const can = canChangeNics(guest);
  const more = networks.length === 0 ? 'add a network first' : full(guest);
  return (
    <Section
      title="Network"
      action={
        adding ? null : (
          <Button
            size="small"
            variant="accent"
            unavailable={can === true ? more : can}
            data-opener
            onPress={() => setAdding(true)}
          >
            Add NIC
          </Button>
        )
      }
    >
      {guest.nics.length === 0 ? <p>This guest has no NIC.</p> : null}
      {guest.nics.map((nic) => (
        <NicFacts key={nic.mac} guest={guest} nic={nic} onError={setError} />
      ))}
      {guest.leftNics.map(({ network, mac, tap }) => (
        <p key={mac}>{`${tap} on ${network} (${mac}) is not in the lab file, and goes with the next up.`}</p>
      ))}
      {error ? <ErrorNote title="The NIC was not removed" error={error} /> : null}
      {adding && can === true ? (
        <NewNic guest={guest} networks={networks} onClose={() => setAdding(false)} />
      ) : null}
    </Section>
  );
}

const full = ({ name, nics }: Row<'guests'>): string | undefined =>
  nics.length < most ? undefined : `${name} has ${most} NICs, which is the most`;
