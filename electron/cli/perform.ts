// SPDX-License-Identifier: Apache-2.0
import { TapyardError } from '../contract/error.ts';
import type { Invocation } from './commands.ts';
import { commandHelp, programHelp, synopsis } from './help.ts';
import type { Parsed } from './parse.ts';
import { safeLine, showError } from './terminal.ts';

/**
 * Does what the words meant, for the caller that `at` describes.
 * @returns the exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted
 */
export async function perform(
  parsed: Parsed,
  at: Pick<Invocation, 'terminal' | 'cwd' | 'core'>,
): Promise<number> {
  const { terminal } = at;
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
    const { command, arguments: given, rest, options } = parsed;
    return await run({ command: command.name, arguments: given, rest, options, ...at });
  } catch (thrown) {
    const error = TapyardError.from(thrown);
    showError(terminal, error, parsed.options['json'] === true);
    return error.code === 'USAGE' ? 2 : 1;
  }
}
