// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { firewallNames } from '../../../electron/contract/doors.ts';
import type { DoorRow } from '../../../electron/contract/rows.ts';
import type { Row } from '../../store/tables.ts';
import { Fact, Facts, Section } from './Section.tsx';

const words: Readonly<Record<DoorRow['state'], string>> = {
  open: 'lets it through',
  opening: 'was asked to let it through',
  shut: 'drops it',
  unseen: 'may drop it, which is root’s to see',
};

/** Other firewalls of this computer that would drop what the network sends: whose, where, and what was done. */
export function Doors({ network }: { readonly network: Row<'networks'> }): ReactElement | null {
  const doors = network.observed?.doors ?? [];
  if (doors.length === 0) return null;
  return (
    <Section title="Other firewalls">
      <Facts>
        {doors.map(({ chain, firewall, state }) => (
          <Fact key={chain} name={firewallNames[firewall]} value={words[state]} note={chain} words />
        ))}
      </Facts>
    </Section>
  );
}
