// SPDX-License-Identifier: Apache-2.0
import process from 'node:process';
import type { ByteStream, Connection } from '../../contract/client.ts';
import { TapyardError } from '../../contract/error.ts';
import type { GuestRow } from '../../contract/rows.ts';
import type { Invocation, Run } from '../commands.ts';
import { rowsOf } from '../mirror.ts';
import { withoutQuestions } from '../replay.ts';
import { labOf } from '../select-lab.ts';

/** Ctrl+], as telnet and virsh leave. */
const leaveKey = 0x1d;
/** Silence after which what came at first is taken to have been the scrollback, ms. */
const replayQuiet = 100;
/** Silence after the end of piped input after which the console is left, ms. */
const pipedQuiet = 500;

const cooked = (): void => void process.stdin.setRawMode(false);

/** Makes stdin raw, and as it was again however this process ends. */
function rawTerminal(): () => void {
  if (!process.stdin.isTTY) return () => undefined;
  process.stdin.setRawMode(true);
  const leave = (signal: NodeJS.Signals): void => {
    cooked();
    process.exit(signal === 'SIGHUP' ? 129 : 143);
  };
  process.on('exit', cooked);
  process.once('SIGTERM', leave).once('SIGHUP', leave);
  return () => {
    cooked();
    process.off('exit', cooked);
    process.off('SIGTERM', leave).off('SIGHUP', leave);
  };
}

/** Where a console goes on that outlives the core it went through. */
interface Place {
  /** Offset of the next byte of its record, -1 before the first. */
  next: number;
}

/** Connects this terminal to the guest until the user leaves or the console ends. */
async function converse(
  connection: Connection,
  { lab, guest }: { lab: string; guest: string },
  history: boolean,
  place: Place,
): Promise<void> {
  const { stdin, stdout } = process;
  await new Promise<void>((resolve, reject) => {
    let replaying = place.next === -1;
    let ended = false;
    const restore = rawTerminal();
    const finish = (error?: TapyardError): void => {
      if (ended) return;
      ended = true;
      clearTimeout(quiet);
      stdin.off('data', onInput).off('end', onInputEnd).pause();
      stream.close();
      restore();
      if (error === undefined) resolve();
      else reject(error);
    };
    let quiet = setTimeout(() => undefined, 0);
    const rearm = (): void => {
      clearTimeout(quiet);
      if (stdin.readableEnded) quiet = setTimeout(finish, pipedQuiet);
      else if (replaying) quiet = setTimeout(() => (replaying = false), replayQuiet);
    };
    const stream: ByteStream = connection.client.consoles.serial(
      { lab, guest, from: place.next, ...(history ? {} : { tail: 0 }) },
      {
        data: (chunk, offset) => {
          place.next = offset + chunk.length;
          stdout.write(replaying && stdin.isTTY ? withoutQuestions(chunk) : chunk);
          rearm();
        },
        skip: (offset) => {
          place.next = offset;
          stdout.write('\r\n[some output was lost]\r\n');
        },
        end: finish,
      },
    );
    const onInput = (chunk: Buffer): void => {
      replaying = false;
      const leave = stdin.isTTY ? chunk.indexOf(leaveKey) : -1;
      const typed = leave === -1 ? chunk : chunk.subarray(0, leave);
      if (typed.length > 0) stream.write(typed);
      if (leave !== -1) finish();
    };
    const onInputEnd = (): void => rearm();
    stdin.on('data', onInput).on('end', onInputEnd).resume();
    rearm();
  });
}

/** Why a guest has no console: its QEMU is gone. What it said is kept. */
export function consoleRefusal({ name, lab, state, pid, serialRecord }: GuestRow): TapyardError | undefined {
  if (pid !== null || !(state === 'shut off' || state === 'crashed')) return undefined;
  return new TapyardError('GUEST_STATE', `${name} is ${state}: nobody reads what is typed.`, {
    hint: `Start it: tapyard start ${name}. What it said up to its end: ${serialRecord}`,
    subject: `${lab}/${name}`,
  });
}

async function consoleOf(connection: Connection, invocation: Invocation, place: Place): Promise<number> {
  const [guest = ''] = invocation.arguments;
  const lab = await labOf(connection, invocation);
  const row = (await rowsOf(connection, connection.client.tables.guests)).find(
    (each) => each.lab === lab && each.name === guest,
  );
  const refusal = row && consoleRefusal(row);
  if (refusal) throw refusal;
  if (process.stdin.isTTY && place.next === -1) {
    invocation.terminal.err(`Connected to ${guest}; Ctrl+] leaves.\r\n`);
  }
  // A script wants the answer to what it types, and not what was there before.
  const history = process.stdin.isTTY || invocation.options['history'] === true;
  await converse(connection, { lab, guest }, history, place);
  if (process.stdin.isTTY) invocation.terminal.err('\r\n');
  return 0;
}

export const run: Run = (invocation) => {
  const place: Place = { next: -1 };
  return invocation.core((connection) => consoleOf(connection, invocation, place), {
    // What is piped in has an end, and what of it was not delivered would not be sent again.
    lasting: process.stdin.isTTY,
  });
};
