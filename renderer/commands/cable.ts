// SPDX-License-Identifier: Apache-2.0
import { Cable } from 'lucide-react';
import type { Subject } from '../store/subject.ts';
import type { Row } from '../store/tables.ts';
import type { Command, CommandState } from './command.ts';

type Nic = Row<'guests'>['nics'][number];

/** The guest and its NIC at a cable. */
function endOf(
  { tables }: CommandState,
  subject: Subject | null,
): { readonly guest: Row<'guests'>; readonly nic: Nic } | undefined {
  const link = subject?.kind === 'link' ? tables.links.get(subject.id) : undefined;
  if (!link) return undefined;
  for (const guest of tables.guests.values()) {
    const nic = guest.lab === link.lab ? guest.nics.find(({ tap }) => tap === link.name) : undefined;
    if (nic) return { guest, nic };
  }
  return undefined;
}

/** What each cable was asked for, by link: the observed state says when it is there. */
const asked = new Map<string, boolean>();

export const cableCommands: readonly Command[] = [
  {
    id: 'cable.link',
    on: ['link'],
    group: 'Network',
    icon: Cable,
    label: (state, subject) => {
      const end = endOf(state, subject);
      if (!end) return 'Cut the cable';
      const { guest, nic } = end;
      return nic.plugged
        ? `Cut the cable of ${guest.name} eth${nic.index}`
        : `Mend the cable of ${guest.name} eth${nic.index}`;
    },
    enabledWhen: (state, subject) => {
      const end = endOf(state, subject);
      if (!end) return 'no guest is at this end';
      const { state: now } = end.guest;
      return now === 'running' || now === 'paused' ? true : `the guest is ${now}`;
    },
    pendingWord: 'Switching…',
    async run({ client, ui, ...state }, subject) {
      const end = endOf({ ...state, ui }, subject);
      const lab = end && state.tables.labs.get(end.guest.lab);
      if (!subject || !end || !lab) return;
      const { guest, nic } = end;
      const up = !nic.plugged;
      asked.set(subject.id, up);
      await client.guest.setLink({ lab: lab.name, guest: guest.name, nic: nic.index, up });
      ui.announce(`The cable of ${guest.name} eth${nic.index} is ${up ? 'whole' : 'cut'}.`);
    },
    reached: (state, subject) => {
      const end = endOf(state, subject);
      return !subject || !end || end.nic.plugged === asked.get(subject.id);
    },
  },
];
