// SPDX-License-Identifier: Apache-2.0
import type { Client } from '../../contract/client.ts';
import { TapyardError } from '../../contract/error.ts';
import type { GuestState } from '../../contract/rows.ts';
import type { Run } from '../commands.ts';
import { Mirror } from '../mirror.ts';
import { labOf } from '../select-lab.ts';

type Verb = {
  call: Exclude<keyof Client['guest'], 'create' | 'remove' | 'addNic' | 'removeNic' | 'setLink' | 'setShape'>;
  /** States that show that it is done; empty where none does. */
  until: readonly GuestState[];
  /** How long that may take, ms. */
  deadlineMs: number;
  done: string;
};

const verbs: Readonly<Record<string, Verb>> = {
  start: { call: 'start', until: ['running'], deadlineMs: 30_000, done: 'is running' },
  // A guest that crashes on its way down is off too, and its state says how.
  shutdown: { call: 'shutdown', until: ['shut off', 'crashed'], deadlineMs: 60_000, done: 'is shut off' },
  'force-off': { call: 'forceOff', until: ['shut off', 'crashed'], deadlineMs: 15_000, done: 'is off' },
  pause: { call: 'pause', until: ['paused'], deadlineMs: 15_000, done: 'is paused' },
  resume: { call: 'resume', until: ['running'], deadlineMs: 15_000, done: 'is running' },
  reset: { call: 'reset', until: [], deadlineMs: 0, done: 'was reset' },
};

/** start, shutdown, force-off, pause, resume, reset: asks, then waits until the state is observed. */
export const run: Run = (invocation) =>
  invocation.core(async (connection) => {
    const verb = verbs[invocation.command];
    const guest = invocation.arguments[0];
    if (verb === undefined || guest === undefined) throw new Error(`no verb ${invocation.command}`);
    const { client } = connection;
    const lab = await labOf(connection, invocation);
    const mirror = await Mirror.open(connection, client.tables.guests);
    await client.guest[verb.call]({ lab, guest });
    const state = (
      rows: readonly { lab: string; name: string; state: GuestState }[],
    ): GuestState | undefined => rows.find((row) => row.lab === lab && row.name === guest)?.state;
    if (verb.until.length > 0) {
      const reached = await mirror.until((rows) => {
        const now = state(rows);
        return now !== undefined && verb.until.includes(now) ? now : undefined;
      }, verb.deadlineMs);
      if (reached === undefined) {
        throw new TapyardError(
          'DEADLINE',
          `${guest} is still “${state(mirror.list()) ?? 'unknown'}” ${verb.deadlineMs / 1000} s after ${invocation.command}.`,
          {
            hint:
              invocation.command === 'shutdown'
                ? `The guest may not listen to its power button. Pull the plug with: tapyard force-off ${guest}`
                : `Look at its console: tapyard console ${guest}`,
            subject: `${lab}/${guest}`,
          },
        );
      }
    }
    mirror.close();
    invocation.terminal.out(`${guest} ${verb.done}.\n`);
    return 0;
  });
