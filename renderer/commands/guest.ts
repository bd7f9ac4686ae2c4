// SPDX-License-Identifier: Apache-2.0
import {
  Copy,
  Monitor,
  Pause,
  Play,
  Power,
  RotateCcw,
  SquareTerminal,
  StepForward,
  Trash2,
  Zap,
} from 'lucide-react';
import type { LucideIcon } from 'lucide-react';
import type { Client } from '../../electron/contract/client.ts';
import { copyText } from '../lib/copy.ts';
import type { Subject } from '../store/subject.ts';
import type { Row } from '../store/tables.ts';
import type { Command, CommandState } from './command.ts';
import {
  canForceOff,
  canPause,
  canRemove,
  canReset,
  canResume,
  canShutdown,
  canStart,
  type Verdict,
} from './rules.ts';

type Guest = Row<'guests'>;

const guestOf = ({ tables }: CommandState, subject: Subject | null): Guest | undefined =>
  subject?.kind === 'guest' ? tables.guests.get(subject.id) : undefined;

const gone = 'this guest is gone';

interface Verb {
  readonly id: string;
  readonly verb: string;
  readonly icon: LucideIcon;
  readonly shortcut?: string;
  readonly can: (guest: Guest, lab: Row<'labs'> | undefined) => Verdict;
  readonly call: (client: Client, guest: { lab: string; guest: string }) => Promise<unknown>;
  readonly word: string;
  /** Whether the state that was asked for is there. */
  readonly reached: (guest: Guest) => boolean;
}

/** Commands that ask the core one thing about one guest. */
const verbs: readonly Verb[] = [
  {
    id: 'guest.start',
    verb: 'Start',
    icon: Play,
    shortcut: 'Alt+Enter',
    can: canStart,
    call: (client, guest) => client.guest.start(guest),
    word: 'Starting…',
    reached: (guest) => guest.state === 'running' || guest.state === 'paused',
  },
  {
    id: 'guest.shutdown',
    verb: 'Shut down',
    icon: Power,
    can: canShutdown,
    call: (client, guest) => client.guest.shutdown(guest),
    word: 'Shutting down…',
    reached: (guest) => guest.state !== 'running',
  },
  {
    id: 'guest.forceOff',
    verb: 'Force off',
    icon: Zap,
    can: canForceOff,
    call: (client, guest) => client.guest.forceOff(guest),
    word: 'Forcing off…',
    reached: (guest) => guest.state === 'shut off' || guest.state === 'crashed',
  },
  {
    id: 'guest.pause',
    verb: 'Pause',
    icon: Pause,
    can: canPause,
    call: (client, guest) => client.guest.pause(guest),
    word: 'Pausing…',
    reached: (guest) => guest.state !== 'running',
  },
  {
    id: 'guest.resume',
    verb: 'Resume',
    icon: StepForward,
    can: canResume,
    call: (client, guest) => client.guest.resume(guest),
    word: 'Resuming…',
    reached: (guest) => guest.state !== 'paused',
  },
  {
    id: 'guest.reset',
    verb: 'Force reset',
    icon: RotateCcw,
    can: canReset,
    call: (client, guest) => client.guest.reset(guest),
    word: 'Resetting…',
    reached: () => true,
  },
];

const guestLabel =
  (verb: string) =>
  (state: CommandState, subject: Subject | null): string => {
    const guest = guestOf(state, subject);
    return guest ? `${verb} ${guest.name}` : verb;
  };

/** The verb alone, for a button beside the guest's name: "Shut down". */
export const guestVerbs: ReadonlyMap<string, string> = new Map([
  ...verbs.map(({ id, verb }) => [id, verb] as const),
  ['guest.serial', 'Serial console'],
  ['guest.screen', 'Screen'],
  ['guest.copyAddress', 'Copy address'],
  ['guest.remove', 'Delete…'],
]);

/** The commands that a guest's buttons offer first, and those in its menu; by state. */
export function guestActions(state: Guest['state']): { first: readonly string[]; more: readonly string[] } {
  const more = ['guest.serial', 'guest.screen', 'guest.copyAddress'];
  switch (state) {
    case 'shut off':
    case 'crashed':
      return { first: ['guest.start'], more: [...more, 'guest.remove'] };
    case 'running':
      return { first: ['guest.shutdown', 'guest.pause', 'guest.forceOff'], more: [...more, 'guest.reset'] };
    case 'paused':
      return { first: ['guest.resume', 'guest.forceOff'], more: [...more, 'guest.reset'] };
    case 'starting':
      return { first: ['guest.forceOff'], more };
    case 'shutting down':
      return { first: ['guest.shutdown', 'guest.forceOff'], more };
  }
}

export const guestCommands: readonly Command[] = [
  ...verbs.map((verb): Command => ({
    id: verb.id,
    on: ['guest'],
    group: 'Guest',
    icon: verb.icon,
    ...(verb.shortcut === undefined ? {} : { shortcut: verb.shortcut }),
    label: guestLabel(verb.verb),
    enabledWhen: (state, subject) => {
      const guest = guestOf(state, subject);
      return guest ? verb.can(guest, state.tables.labs.get(guest.lab)) : gone;
    },
    pendingWord: verb.word,
    async run({ client, ...state }, subject) {
      const guest = guestOf(state, subject);
      const lab = guest && state.tables.labs.get(guest.lab);
      if (guest && lab) await verb.call(client, { lab: lab.name, guest: guest.name });
    },
    reached: (state, subject) => {
      const guest = guestOf(state, subject);
      return !guest || verb.reached(guest);
    },
  })),
  {
    id: 'guest.serial',
    on: ['guest'],
    group: 'Guest',
    icon: SquareTerminal,
    shortcut: 'Alt+S',
    label: (state, subject) => `Serial console of ${guestOf(state, subject)?.name ?? 'the guest'}`,
    enabledWhen: (state, subject) => (guestOf(state, subject) ? true : gone),
    run({ ui }, subject) {
      if (subject) ui.openConsole({ guest: subject.id, kind: 'serial' });
    },
  },
  {
    id: 'guest.screen',
    on: ['guest'],
    group: 'Guest',
    icon: Monitor,
    shortcut: 'Alt+V',
    label: (state, subject) => `Screen of ${guestOf(state, subject)?.name ?? 'the guest'}`,
    enabledWhen: (state, subject) => (guestOf(state, subject) ? true : gone),
    run({ ui }, subject) {
      if (subject) ui.openConsole({ guest: subject.id, kind: 'screen' });
    },
  },
  {
    id: 'guest.copyAddress',
    on: ['guest'],
    group: 'Guest',
    icon: Copy,
    label: (state, subject) => `Copy the address of ${guestOf(state, subject)?.name ?? 'the guest'}`,
    enabledWhen: (state, subject) => {
      const guest = guestOf(state, subject);
      if (!guest) return gone;
      return guest.nics.some((nic) => nic.address !== null) ? true : `${guest.name} has no address`;
    },
    async run({ ui, ...state }, subject) {
      const address = guestOf({ ...state, ui }, subject)?.nics.find((nic) => nic.address !== null)?.address;
      if (!address) return;
      await copyText(address);
      ui.announce(`${address} is copied.`);
    },
  },
  {
    id: 'guest.remove',
    on: ['guest'],
    group: 'Guest',
    icon: Trash2,
    label: guestLabel('Delete'),
    enabledWhen: (state, subject) => {
      const guest = guestOf(state, subject);
      return guest ? canRemove(guest) : gone;
    },
    confirm(state, subject) {
      const guest = guestOf(state, subject);
      if (!guest) return null;
      return {
        title: `Delete ${guest.name}?`,
        text: `${guest.name} leaves the lab file and what it wrote to its disk is deleted. Its image stays as it is.`,
        action: 'Delete',
      };
    },
    pendingWord: 'Deleting…',
    async run({ client, ...state }, subject) {
      const guest = guestOf(state, subject);
      const lab = guest && state.tables.labs.get(guest.lab);
      if (guest && lab)
        await client.guest.remove({ lab: lab.name, guest: guest.name, fileHash: lab.fileHash });
    },
    reached: (state, subject) => guestOf(state, subject) === undefined,
  },
];
