// SPDX-License-Identifier: Apache-2.0
import { ArrowLeftRight } from 'lucide-react';
import type { Subject } from '../store/subject.ts';
import type { Row } from '../store/tables.ts';
import type { Command, CommandState } from './command.ts';
import { canSwitchNat } from './rules.ts';

const networkOf = ({ tables }: CommandState, subject: Subject | null): Row<'networks'> | undefined =>
  subject?.kind === 'network' || subject?.kind === 'nat' ? tables.networks.get(subject.id) : undefined;

/** What each switch was asked for, by network: the observed state says when it is there. */
const asked = new Map<string, boolean>();

export const networkCommands: readonly Command[] = [
  {
    id: 'network.nat',
    on: ['nat', 'network'],
    group: 'Network',
    icon: ArrowLeftRight,
    label: (state, subject) => {
      const network = networkOf(state, subject);
      return `Turn NAT of ${network?.name ?? 'the network'} ${network?.observed?.nat ? 'off' : 'on'}`;
    },
    enabledWhen: (state, subject) => {
      const network = networkOf(state, subject);
      return network ? canSwitchNat(network) : 'this network is gone';
    },
    pendingWord: 'Switching…',
    async run({ client, ui, ...state }, subject) {
      const network = networkOf({ ...state, ui }, subject);
      const lab = network && state.tables.labs.get(network.lab);
      if (!network?.observed || !lab) return;
      const nat = !network.observed.nat;
      asked.set(network.id, nat);
      const answer = await client.network.setNat({ lab: lab.name, network: network.name, nat });
      const flows = answer.flowsRemoved > 0 ? `; ${answer.flowsRemoved} flows ended` : '';
      ui.announce(`NAT of ${network.name} is ${answer.nat ? 'on' : 'off'}${flows}.`);
    },
    reached: (state, subject) => {
      const network = networkOf(state, subject);
      return !network?.observed || network.observed.nat === asked.get(network.id);
    },
  },
];
