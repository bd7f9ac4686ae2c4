// SPDX-License-Identifier: Apache-2.0
import process from 'node:process';
import type { ByteStream, Connection } from '../../contract/client.ts';
import type { TapyardError } from '../../contract/error.ts';
import type { Invocation, Run } from '../commands.ts';
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

/** Connects this terminal to the guest until the user leaves or the console ends. */
async function converse(connection: Connection, lab: string, guest: string): Promise<void> {
  const { stdin, stdout } = process;
  await new Promise<void>((resolve, reject) => {
    let replaying = true;
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
      { lab, guest, from: -1 },
      {
        data: (chunk) => {
          stdout.write(replaying && stdin.isTTY ? withoutQuestions(chunk) : chunk);
          rearm();
        },
        skip: () => void stdout.write('\r\n[some output was lost]\r\n'),
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
    stdin.on('data', onInput).on('end', onInputEnd);
    rearm();
  });
}

async function consoleOf(connection: Connection, invocation: Invocation): Promise<number> {
  const [guest = ''] = invocation.arguments;
  const lab = await labOf(connection, invocation);
  if (process.stdin.isTTY) {
    invocation.terminal.err(`Connected to ${guest}; Ctrl+] leaves.\r\n`);
  }
  await converse(connection, lab, guest);
  if (process.stdin.isTTY) invocation.terminal.err('\r\n');
  return 0;
}

export const run: Run = (invocation) => invocation.core((connection) => consoleOf(connection, invocation));
