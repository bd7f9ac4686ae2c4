// SPDX-License-Identifier: Apache-2.0
import process from 'node:process';
import type { Invocation } from './commands.ts';
import { parse } from './parse.ts';
import { perform } from './perform.ts';
import { ownTerminal } from './terminal.ts';

/** How long to look for the core of this user or its lock, ms. */
const joinDeadline = 10_000;

/**
 * Does what the words after `tapyard` say.
 * @returns the exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted
 */
export const main = (words: readonly string[]): Promise<number> =>
  perform(parse(words), { terminal: ownTerminal(), cwd: () => process.cwd(), core: ownCore });

/** The user's core: the one that runs, or one in this process for as long as `run` takes. */
const ownCore: Invocation['core'] = async (run, how) => {
  const { withCore } = await import('../core/host/election.ts');
  const { startCore } = await import('./start-core.ts');
  const terminal = ownTerminal();
  const onStay = (): void => {
    if (terminal.interactive)
      terminal.err(
        'tapyard: other commands need what runs in this one, which stays for them, a minute at most. Ctrl+C ends it.\n',
      );
  };
  return withCore({ start: startCore, deadlineMs: joinDeadline, role: 'cli', onStay, ...how }, run);
};
