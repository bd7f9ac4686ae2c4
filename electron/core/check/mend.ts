// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import { TapyardError } from '../../contract/error.ts';
import type { MendableCheck } from '../../contract/rows.ts';
import type { Job } from '../host/jobs.ts';
import { tryLock, unlock } from '../host/election.ts';
import { pkexecRefused, type PkexecRefusal } from '../host/pkexec.ts';
import { type ProgramResult, runProgram } from '../host/process.ts';
import { findProgram } from '../host/programs.ts';
import { runtimeDir, socketPath } from '../host/runtime-dir.ts';
import { type Check, type Command, type Finding, words } from './check.ts';
import { hostScope } from './host-scope.ts';

/** Each check that can be mended; the commands are its own, made anew from what it finds at that moment. */
const mendable: Readonly<Record<MendableCheck, Pick<Check, 'look'>>> = { 'host-scope': hostScope };

/** How long polkit's question may stand, ms. */
const patience = 180_000;
/** How long what somebody is about to be asked is shown before a dialogue may cover it, ms. */
const tellingTime = 200;

/** A way to run a command as root: it throws why it was not run, or failed. */
export interface AsRoot {
  /** What the user is about to be asked by it, and why. */
  readonly asks: (command: Command) => string;
  readonly run: (command: Command, signal: AbortSignal) => Promise<void>;
}

/**
 * Looks at a check and runs what mends it; done when it is fine then, or was fine already. A user has one at a
 * time, in the core or in a terminal: the commands of two would undo each other's. Throws MEND_DENIED,
 * MEND_DISMISSED, MEND_FAILED, DEADLINE, ABORTED. What was run before a failure stays: each command by itself gives
 * nobody more than the whole.
 */
export async function mendCheck(
  id: MendableCheck,
  job: Pick<Job, 'progress' | 'asks' | 'signal'>,
  asRoot: AsRoot,
  check: Pick<Check, 'look'> = mendable[id],
): Promise<void> {
  const path = socketPath(runtimeDir(), 'mend.lock');
  const lock = await tryLock(path);
  if (lock === undefined)
    throw new TapyardError('MEND_FAILED', 'It is being mended already, in a window or a terminal of yours.', {
      hint: 'Answer what is asked there, then look again: tapyard check',
      subject: id,
    });
  try {
    await mendAlone(id, job, asRoot, check);
  } finally {
    await unlock(lock, path);
  }
}

async function mendAlone(
  id: MendableCheck,
  { progress, asks, signal }: Pick<Job, 'progress' | 'asks' | 'signal'>,
  asRoot: AsRoot,
  { look }: Pick<Check, 'look'>,
): Promise<void> {
  const before = await look();
  if (before.state === 'ok') return;
  if (before.mend === undefined) throw notMended(id, 'Tapyard cannot mend what it finds now', before);
  for (const [at, command] of before.mend.entries()) {
    progress(`running ${command.join(' ')}`, at, before.mend.length);
    asks(asRoot.asks(command));
    await sleep(tellingTime);
    await asRoot.run(command, signal);
  }
  progress('looking again', before.mend.length, before.mend.length);
  const after = await look();
  if (after.state !== 'ok') throw notMended(id, 'All was run, and it still finds', after);
}

function notMended(id: string, why: string, { found, fixes }: Finding): TapyardError {
  const commands = fixes.flatMap(({ text, command }) => [text, ...(command === undefined ? [] : [command])]);
  return new TapyardError('MEND_FAILED', `${why}: ${found}`, { hint: commands.join('\n'), subject: id });
}

/** By polkit, with its own dialogue. */
export const byPkexec: AsRoot = {
  asks: (command) =>
    `polkit asks you now for the password of an administrator, to run as root: ${command.join(' ')}. Closed, it is not run.`,
  async run(command, abort) {
    const shown = command.join(' ');
    const pkexec = findProgram('pkexec');
    if (pkexec === undefined)
      throw denied(shown, 'pkexec, which would ask for the password, is not installed');
    const done = await ended(pkexec, command, abort);
    const refused = pkexecRefused(done.code, done.stderr);
    if (refused === 'dismissed')
      throw new TapyardError('MEND_DISMISSED', `The question was closed, and this was not run: ${shown}`, {
        subject: shown,
      });
    if (refused !== undefined) throw denied(shown, refusals[refused]);
    if (done.code !== 0) throw ranInVain(command, `${done.stderr}${done.stdout}`, done);
  },
};

const refusals: Readonly<Record<Exclude<PkexecRefusal, 'dismissed'>, string>> = {
  denied: 'polkit does not allow it, or the password was wrong too often',
  nobody: 'nobody could be asked for the password, as no polkit agent runs in this session',
  'no-polkit': 'pkexec is installed, but polkit does not answer it (systemctl status polkit)',
};

const denied = (shown: string, why: string): TapyardError =>
  new TapyardError('MEND_DENIED', `This was not run: ${shown}. The reason: ${why}.`, {
    hint: `In a terminal, where sudo asks: tapyard check --mend. Or: sudo ${shown}`,
    subject: shown,
  });

/** That a command was run, and failed. */
export function ranInVain(
  command: Command,
  said: string,
  how: Pick<ProgramResult, 'code' | 'signal'>,
): TapyardError {
  const shown = command.join(' ');
  const end = how.signal === null ? `exit status ${how.code}` : how.signal;
  return new TapyardError('MEND_FAILED', `${shown} ended with ${end}: ${said.trim().slice(0, 500)}`, {
    hint: 'See whether it can be mended by hand: tapyard check',
    subject: shown,
  });
}

async function ended(pkexec: string, command: Command, abort: AbortSignal): Promise<ProgramResult> {
  try {
    // Its own session: on a terminal that Tapyard was started from pkexec would ask there, beneath the window.
    return await runProgram(pkexec, command, { deadlineMs: patience, abort, ownSession: true });
  } catch (thrown) {
    if (thrown instanceof TapyardError && thrown.code === 'DEADLINE')
      throw new TapyardError(
        'DEADLINE',
        `Nobody answered polkit within ${patience / 60_000} min: its question was withdrawn, and this was not run: ${command.join(' ')}`,
        { hint: 'Press Mend again, or in a terminal, where sudo asks: tapyard check --mend' },
      );
    if (thrown instanceof TapyardError) throw thrown;
    throw ranInVain(command, words(thrown), { code: null, signal: null });
  }
}
