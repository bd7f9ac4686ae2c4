// SPDX-License-Identifier: Apache-2.0
import { ArrowLeftRight, Network, Pencil, Trash2 } from 'lucide-react';
import type { Subject } from '../store/subject.ts';
import type { Row } from '../store/tables.ts';
import type { Command, CommandState } from './command.ts';
import { labOf } from './lab.ts';
import { canEditNetwork, canRemoveNetwork, canSwitchNat } from './rules.ts';
import { ofLab } from '../store/select.ts';
import { useUi } from '../store/ui.ts';

const networkOf = ({ tables }: CommandState, subject: Subject | null): Row<'networks'> | undefined =>
  subject?.kind === 'network' || subject?.kind === 'nat' ? tables.networks.get(subject.id) : undefined;

/** What each switch was asked for, by network: the observed state says when it is there. */
const asked = new Map<string, boolean>();

const gone = 'this network is gone';

/** Guests of a network's lab. */
const guestsOf = ({ tables }: CommandState, { lab }: Row<'networks'>): Row<'guests'>[] =>
  ofLab<'guests'>(tables.guests, lab);

export const networkCommands: readonly Command[] = [
  {
    id: 'network.new',
    on: null,
    group: 'Lab',
    icon: Network,
    shortcut: 'Alt+B',
    label: () => 'Add network',
    needsCore: true,
    enabledWhen: (state) => (labOf(state, null) ? true : 'no lab is open'),
    run: () => useUi.setState({ networkForm: { network: null } }),
  },
  {
    id: 'network.edit',
    on: ['nat', 'network'],
    group: 'Network',
    icon: Pencil,
    label: (state, subject) => `Edit ${networkOf(state, subject)?.name ?? 'the network'}`,
    needsCore: true,
    enabledWhen: (state, subject) => {
      const network = networkOf(state, subject);
      return network ? canEditNetwork(network) : gone;
    },
    run: (_context, subject) => {
      if (subject) useUi.setState({ networkForm: { network: subject.id } });
    },
  },
  {
    id: 'network.remove',
    on: ['nat', 'network'],
    group: 'Network',
    icon: Trash2,
    label: (state, subject) => `Remove ${networkOf(state, subject)?.name ?? 'the network'}`,
    enabledWhen: (state, subject) => {
      const network = networkOf(state, subject);
      return network ? canRemoveNetwork(network, guestsOf(state, network)) : gone;
    },
    confirm(state, subject) {
      const network = networkOf(state, subject);
      return network ? { title: `Remove ${network.name}?`, text: whatGoes(network), action: 'Remove' } : null;
    },
    pendingWord: 'Removing…',
    async run({ client, ui, ...state }, subject) {
      const network = networkOf({ ...state, ui }, subject);
      const lab = network && state.tables.labs.get(network.lab);
      if (!network || !lab) return;
      const { name } = network;
      await client.network.remove({ lab: lab.name, network: name, fileHash: lab.fileHash });
      ui.announce(`${name} is removed.`);
    },
    reached: (state, subject) => networkOf(state, subject) === undefined,
  },
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
      return network ? canSwitchNat(network) : gone;
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

/** What is taken away with a network, for the question before. */
function whatGoes({ name, observed, wanted }: Row<'networks'>): string {
  if (!observed) return `${name} leaves the lab file. Nothing of it is there now.`;
  if (wanted && wanted.uplink !== null)
    return `${name} leaves the lab file. The bridge ${wanted.uplink} stays as it is.`;
  const parts = [
    `the bridge ${name}`,
    ...(observed.nat ? ['its NAT'] : []),
    ...(observed.dns ? ['its DHCP and DNS server'] : []),
  ];
  return `${name} leaves the lab file, and ${parts.join(', ')} and its filter rules go at once.`;
}
