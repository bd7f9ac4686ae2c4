// SPDX-License-Identifier: Apache-2.0
import { ArrowDownToLine, ArrowLeftRight, ArrowUpFromLine, CircleX, Copy } from 'lucide-react';
import { copyText } from '../lib/copy.ts';
import { count } from '../lib/format.ts';
import { currentLabId, ofLab } from '../store/select.ts';
import type { Subject } from '../store/subject.ts';
import type { Row } from '../store/tables.ts';
import type { Command, CommandState } from './command.ts';
import { canBringDown, canBringUp, canMove } from './rules.ts';

/** The lab that a command is for: the subject where it is one, else the lab in view. */
export function labOf({ tables, ui }: CommandState, subject: Subject | null): Row<'labs'> | undefined {
  const id = subject?.kind === 'lab' ? subject.id : currentLabId(tables.labs, ui.lab);
  return id === null ? undefined : tables.labs.get(id);
}

const none = 'no lab is open';

/** Whether everything that the file wants is observed. */
function complete({ tables }: CommandState, lab: Row<'labs'>): boolean {
  return (
    ofLab<'guests'>(tables.guests, lab.id).every((guest) => !guest.wanted || guest.pid !== null) &&
    ofLab<'networks'>(tables.networks, lab.id).every((network) => !network.wanted || network.observed)
  );
}

/** The job that works on the lab now. */
export function runningJob({ tables }: CommandState, lab: string): Row<'jobs'> | undefined {
  return [...tables.jobs.values()].find((job) => job.lab === lab && job.state === 'running');
}

/** What a move leads to and asks for, before anything is asked. */
const moveWords: Readonly<Record<Row<'labs'>['scope'], string>> = {
  host: 'Its bridges and taps are then on this computer, which reaches the guests by their addresses; its firewalls and Docker have a say in their traffic.\n\nThat needs a privilege: nothing is asked where your group may run the network helper, else your password. Refused, nothing changes.',
  private:
    'Its bridges and taps are then in namespaces of its own: nothing on this computer changes, no privilege is needed, and the guests are reached by their consoles, ssh and forwards.',
};

const otherScope = (lab: Pick<Row<'labs'>, 'scope'>): Row<'labs'>['scope'] =>
  lab.scope === 'private' ? 'host' : 'private';

export const labCommands: readonly Command[] = [
  {
    id: 'lab.up',
    on: null,
    group: 'Lab',
    icon: ArrowUpFromLine,
    shortcut: 'Alt+U',
    label: (state, subject) => `Bring ${labOf(state, subject)?.name ?? 'the lab'} up`,
    enabledWhen: (state, subject) => {
      const lab = labOf(state, subject);
      return lab ? canBringUp(lab, complete(state, lab)) : none;
    },
    pendingWord: 'Starting…',
    async run({ client, ...state }, subject) {
      const lab = labOf(state, subject);
      if (lab) await client.lab.up({ lab: lab.name });
    },
    reached: (state, subject) => {
      const lab = labOf(state, subject);
      return (
        !lab ||
        lab.state === 'starting' ||
        lab.state === 'failed' ||
        runningJob(state, lab.id) !== undefined ||
        complete(state, lab)
      );
    },
  },
  {
    id: 'lab.down',
    on: null,
    group: 'Lab',
    icon: ArrowDownToLine,
    label: (state, subject) => `Bring ${labOf(state, subject)?.name ?? 'the lab'} down`,
    enabledWhen: (state, subject) => {
      const lab = labOf(state, subject);
      return lab ? canBringDown(lab) : none;
    },
    confirm(state, subject) {
      const lab = labOf(state, subject);
      if (!lab) return null;
      const running = ofLab<'guests'>(state.tables.guests, lab.id).filter(
        (guest) => guest.pid !== null,
      ).length;
      if (running === 0) return null;
      return {
        title: `Bring ${lab.name} down?`,
        text: `${count(running, 'guest')} will be asked to shut down, then the network of the lab is taken away. Disks and the lab file stay.`,
        action: 'Bring down',
      };
    },
    pendingWord: 'Stopping…',
    async run({ client, ...state }, subject) {
      const lab = labOf(state, subject);
      if (lab) await client.lab.down({ lab: lab.name });
    },
    reached: (state, subject) => labOf(state, subject)?.state !== 'up',
  },
  {
    id: 'lab.move',
    on: null,
    group: 'Lab',
    icon: ArrowLeftRight,
    label: (state, subject) => {
      const lab = labOf(state, subject);
      return `Move ${lab?.name ?? 'the lab'} to the ${lab ? otherScope(lab) : 'other'} scope`;
    },
    enabledWhen: (state, subject) => {
      const lab = labOf(state, subject);
      return lab ? canMove(lab) : none;
    },
    confirm(state, subject) {
      const lab = labOf(state, subject);
      if (!lab) return null;
      const scope = otherScope(lab);
      const running = ofLab<'guests'>(state.tables.guests, lab.id).filter((guest) => guest.pid !== null);
      return {
        title: `Move ${lab.name} to the ${scope} scope?`,
        text: `${moveWords[scope]}\n\n${
          lab.state === 'down'
            ? 'The lab is down; it comes up there the next time.'
            : `${running.length === 0 ? 'The' : `${count(running.length, 'guest')} will be asked to shut down; then the`} lab goes down here and comes up there. Disks and the lab file stay.`
        }`,
        action: `Move to the ${scope} scope`,
      };
    },
    pendingWord: 'Moving…',
    async run({ client, ...state }, subject) {
      const lab = labOf(state, subject);
      if (lab) await client.lab.move({ lab: lab.name, scope: otherScope(lab) });
    },
    reached: (state, subject) => {
      const lab = labOf(state, subject);
      return !lab || runningJob(state, lab.id) === undefined || lab.state !== 'up';
    },
  },
  {
    id: 'job.cancel',
    on: null,
    group: 'Lab',
    icon: CircleX,
    label: () => 'Cancel what is under way',
    enabledWhen: (state, subject) => {
      const lab = labOf(state, subject);
      return lab && runningJob(state, lab.id) ? true : 'nothing is under way';
    },
    pendingWord: 'Cancelling…',
    async run({ client, ...state }, subject) {
      const lab = labOf(state, subject);
      const job = lab && runningJob(state, lab.id);
      if (job) await client.job.cancel({ job: job.id });
    },
    reached: (state, subject) => {
      const lab = labOf(state, subject);
      return !lab || runningJob(state, lab.id) === undefined;
    },
  },
  {
    id: 'recipe.copy',
    on: null,
    group: 'Lab',
    icon: Copy,
    label: () => 'Copy the recipe as a script',
    needsCore: true,
    enabledWhen: (state, subject) => (labOf(state, subject) ? true : none),
    async run({ client, ui, ...state }, subject) {
      const lab = labOf({ ...state, ui }, subject);
      if (!lab) return;
      await copyText(client.recipe.script({ lab: lab.name }).then(({ script }) => script));
      ui.announce('The recipe is copied.');
    },
  },
];
