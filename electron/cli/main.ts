// SPDX-License-Identifier: Apache-2.0
import { TapyardError } from '../contract/error.ts';
import type { Invocation } from './commands.ts';
import { commandHelp, programHelp, synopsis } from './help.ts';
import { parse } from './parse.ts';
import { ownTerminal, safeLine, showError, type Terminal } from './terminal.ts';

/** How long to look for the core of this user or its lock, ms. */
const joinDeadline = 10_000;

/**
 * Does what the words after `tapyard` say.
 * @returns the exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted
 */
export async function main(words: readonly string[], terminal: Terminal = ownTerminal()): Promise<number> {
  const parsed = parse(words);
  switch (parsed.kind) {
    case 'help':
      terminal.out(parsed.command === undefined ? programHelp() : commandHelp(parsed.command));
      return 0;
    case 'version': {
      const { tapyardVersion } = await import('../core/host/programs.ts');
      terminal.out(`${tapyardVersion()}\n`);
      return 0;
    }
    case 'usage': {
      const { command } = parsed;
      const how =
        command === undefined
          ? 'tapyard --help lists the commands.'
          : `usage: ${synopsis(command)}\n       tapyard ${command.name} --help tells more.`;
      terminal.err(`tapyard: ${safeLine(parsed.message)}.\n${how}\n`);
      return 2;
    }
    case 'run':
      break;
  }
  try {
    const run = await parsed.command.load();
    return await run({
      command: parsed.command.name,
      arguments: parsed.arguments,
      rest: parsed.rest,
      options: parsed.options,
      terminal,
      core: ownCore,
    });
  } catch (thrown) {
    const error = TapyardError.from(thrown);
    showError(terminal, error, parsed.options['json'] === true);
    return error.code === 'USAGE' ? 2 : 1;
  }
}

/** The user's core: the one that runs, or one in this process for as long as `run` takes. */
const ownCore: Invocation['core'] = async (run) => {
  const { withCore } = await import('../core/host/election.ts');
  const { startCore } = await import('../core/host/start-core.ts');
  return withCore({ start: startCore, deadlineMs: joinDeadline, role: 'cli' }, run);
};
