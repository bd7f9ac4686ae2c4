// SPDX-License-Identifier: Apache-2.0
import type { GuestState } from '../../contract/rows.ts';
import { TapyardError } from '../../contract/error.ts';
import type { QmpEvent } from './qmp.ts';

/** A guest's state and why it is in it, as `GuestRow` shows them. */
export interface Condition {
  readonly state: GuestState;
  readonly reason: string | null;
}

/** How a QEMU that is gone ended, where somebody knows. */
export type Ending =
  | { readonly kind: 'exit'; readonly code: number }
  | { readonly kind: 'signal'; readonly signal: string; readonly number: number }
  /** It was not our child. */
  | { readonly kind: 'unknown' };

/** The reason of a guest that put itself to sleep; `cont` does not wake it. */
export const asleep = 'the guest sleeps (ACPI S3)';

const pressed = 'power button pressed';
const obeyed = 'as asked';

/** The reasons of QEMU's SHUTDOWN (QAPI: ShutdownCause) that are no crash, in words. */
const shutdownReasons: ReadonlyMap<unknown, string> = new Map([
  ['guest-shutdown', 'by the guest'],
  ['guest-reset', 'by the guest'],
  ['host-qmp-quit', 'forced off'],
  ['host-qmp-system-reset', 'by user'],
  ['host-signal', 'QEMU was told to end by a signal'],
  ['host-ui', 'by user'],
  ['snapshot-load', 'by user'],
]);

/** What QEMU's `query-status` says (QAPI: RunState) as a condition; `undefined` for a QEMU that is about to end. */
export function conditionOf(runState: string): Condition {
  switch (runState) {
    case 'running':
      return { state: 'running', reason: null };
    case 'suspended':
      return { state: 'paused', reason: asleep };
    case 'paused':
    case 'debug':
      return { state: 'paused', reason: null };
    case 'io-error':
      return { state: 'paused', reason: 'its disk could not be written' };
    case 'guest-panicked':
      return { state: 'crashed', reason: 'panicked' };
    case 'internal-error':
      return { state: 'crashed', reason: 'QEMU: internal error' };
    case 'shutdown':
      return { state: 'shutting down', reason: null };
    case 'prelaunch':
    case 'inmigrate':
    case 'postmigrate':
    case 'finish-migrate':
    case 'save-vm':
    case 'restore-vm':
    case 'colo':
    case 'watchdog':
      return { state: 'paused', reason: runState };
    default:
      return { state: 'running', reason: null };
  }
}

/** The condition after an event; the same object when the event changes nothing. */
export function afterEvent(now: Condition, { event, data }: QmpEvent): Condition {
  switch (event) {
    case 'RESUME':
      // `cont` while the power button works: the guest still is shutting down.
      return now.state === 'shutting down' ? now : { state: 'running', reason: null };
    case 'STOP':
      // A panic, a full disk and a shutdown stop the processors too; they have said why before.
      return now.state === 'crashed' || now.state === 'shutting down' || now.state === 'paused'
        ? now
        : { state: 'paused', reason: null };
    case 'SUSPEND':
      return { state: 'paused', reason: asleep };
    case 'WAKEUP':
      return { state: 'running', reason: null };
    case 'POWERDOWN':
      return now.state === 'running' ? { state: 'shutting down', reason: pressed } : now;
    case 'RESET':
      // After the panic QEMU keeps the processors stopped until RESUME.
      return now.state === 'shutting down' ? { state: 'running', reason: null } : now;
    case 'GUEST_PANICKED':
      return { state: 'crashed', reason: 'panicked' };
    case 'BLOCK_IO_ERROR':
      return data['action'] === 'stop'
        ? {
            state: 'paused',
            reason:
              data['nospace'] === true
                ? 'the disk of this computer is full'
                : 'its disk could not be written',
          }
        : now;
    case 'SHUTDOWN': {
      // A guest that has broken out of QEMU says what it likes: only words that are known are used.
      const { reason } = data;
      if (reason === 'guest-panic') return { state: 'crashed', reason: 'panicked' };
      if (reason === 'host-error') return { state: 'crashed', reason: 'QEMU: internal error' };
      // It obeys its power button: that is not of its own accord.
      const asked = now.reason === pressed || now.reason === obeyed;
      if (asked && reason === 'guest-shutdown') return { state: 'shutting down', reason: obeyed };
      return { state: 'shutting down', reason: shutdownReasons.get(reason) ?? 'QEMU ended' };
    }
    default:
      return now;
  }
}

/** Whether an event announces QEMU's end, so that its end is no crash. */
export function announcesEnd({ event, data }: QmpEvent): boolean {
  return event === 'SHUTDOWN' && data['reason'] !== 'guest-panic' && data['reason'] !== 'host-error';
}

/** The condition of a guest whose QEMU is gone. `announced` is whether a SHUTDOWN event came before. */
export function afterEnd(before: Condition, announced: boolean, ending: Ending): Condition {
  if (announced) return { state: 'shut off', reason: before.reason };
  if (before.state === 'crashed') return before;
  switch (ending.kind) {
    case 'signal':
      return { state: 'crashed', reason: `killed by signal ${ending.number}` };
    case 'exit':
      // The guest was off before QEMU's monitor could be heard.
      return ending.code === 0
        ? { state: 'shut off', reason: 'by the guest' }
        : { state: 'crashed', reason: `QEMU failed with exit code ${ending.code}` };
    case 'unknown':
      return { state: 'crashed', reason: 'QEMU is gone' };
  }
}

/**
 * The condition of a guest whose QEMU ended while no core looked. QEMU removes its sockets when it ends in order, as at
 * the guest's power-off; a killed one leaves them.
 */
export function afterUnseenEnd(leftItsSockets: boolean): Condition {
  return leftItsSockets
    ? { state: 'crashed', reason: 'QEMU was killed while Tapyard was not running' }
    : { state: 'shut off', reason: 'it ended while Tapyard was not running' };
}

/** What a person can ask of a guest. */
export type Verb = 'start' | 'shutdown' | 'forceOff' | 'pause' | 'resume' | 'reset';

const words: Readonly<Record<Verb, string>> = {
  start: 'started',
  shutdown: 'shut down',
  forceOff: 'forced off',
  pause: 'paused',
  resume: 'resumed',
  reset: 'reset',
};

/** For each verb, the states that it does something in, and those where what it wants is there already. */
const table: Readonly<
  Record<Verb, { readonly acts: readonly GuestState[]; readonly holds: readonly GuestState[] }>
> = {
  start: { acts: ['shut off', 'crashed'], holds: ['running', 'starting'] },
  shutdown: { acts: ['running', 'shutting down'], holds: ['shut off'] },
  forceOff: { acts: ['starting', 'running', 'paused', 'shutting down', 'crashed'], holds: ['shut off'] },
  pause: { acts: ['running', 'shutting down'], holds: ['paused'] },
  resume: { acts: ['paused'], holds: ['running'] },
  reset: { acts: ['running', 'paused', 'shutting down', 'crashed'], holds: [] },
};

/** What a verb means in a state: act, nothing to do, or refused. `alive` is whether QEMU is there (a crashed guest may have one). */
export function decide(verb: Verb, state: GuestState, alive: boolean): 'act' | 'holds' | 'refuse' {
  if (state === 'crashed' && !alive) {
    if (verb === 'forceOff') return 'holds';
    if (verb === 'reset') return 'refuse';
  }
  if (table[verb].acts.includes(state)) return 'act';
  return table[verb].holds.includes(state) ? 'holds' : 'refuse';
}

const nextSteps: Readonly<Partial<Record<GuestState, string>>> = {
  'shut off': 'Start it first.',
  starting: 'Wait until it runs.',
  paused: 'Resume it first, or force it off.',
  'shutting down': 'Wait until it is off, or force it off.',
  crashed: 'Start it again.',
};

/** The refusal of a verb, GUEST_STATE. */
export function refusal(verb: Verb, guest: string, state: GuestState): TapyardError {
  const hint = nextSteps[state];
  return new TapyardError('GUEST_STATE', `${guest} is ${state} and cannot be ${words[verb]}.`, {
    ...(hint === undefined ? {} : { hint }),
    subject: guest,
  });
}
