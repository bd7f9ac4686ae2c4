// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { commands } from '../../../electron/cli/commands.ts';
import { commandHelp, programHelp, synopsis } from '../../../electron/cli/help.ts';
import { parse } from '../../../electron/cli/parse.ts';
import { bashCompletion } from '../../../electron/cli/run/completion.ts';

const words = (line: string): string[] => line.split(' ').filter((word) => word !== '');

/** What a line means, in short. */
function meaning(line: string): string {
  const parsed = parse(words(line));
  switch (parsed.kind) {
    case 'run':
      return `${parsed.command.name} ${JSON.stringify(parsed.arguments)} ${JSON.stringify(parsed.options)}${parsed.rest.map((word, at) => (at === 0 ? ` -- ${word}` : ` ${word}`)).join('')}`;
    case 'help':
      return `help ${parsed.command?.name ?? ''}`.trim();
    case 'usage':
      return `usage: ${parsed.message}`;
    case 'version':
      return 'version';
  }
}

describe('the command line', () => {
  it.each([
    ['', 'open [] {}'],
    ['--demo', 'open [] {"demo":true}'],
    ['open --demo', 'open [] {"demo":true}'],
    ['up', 'up [] {}'],
    ['up lab.yaml --scope host --json', 'up ["lab.yaml"] {"scope":"host","json":true}'],
    ['up --scope=private', 'up [] {"scope":"private"}'],
    ['down --force --lab seed', 'down [] {"force":true,"lab":"seed"}'],
    ['force-off web', 'force-off ["web"] {}'],
    ['ssh web -l me -- ls -l --', 'ssh ["web"] {"user":"me"} -- ls -l --'],
    ['ssh web ls', 'usage: “ls” is one argument too many'],
    ['nat br0 off', 'nat ["br0","off"] {}'],
    ['serve --port 8057', 'serve [] {"port":"8057"}'],
    ['--help', 'help'],
    ['-h', 'help'],
    ['help', 'help'],
    ['help up', 'help up'],
    ['up -h', 'help up'],
    ['nat --help', 'help nat'],
    ['--version', 'version'],
    ['up a b', 'usage: “b” is one argument too many'],
    ['up --scope lan', 'usage: --scope takes private or host, not “lan”'],
    ['up --bogus', "usage: Unknown option '--bogus'"],
    ['start', 'usage: GUEST is missing'],
    ['nat br0', 'usage: on|off is missing'],
    ['nat br0 maybe', 'usage: “maybe” is not on or off'],
    ['help nothing', 'usage: There is no command “nothing”'],
    ['shutdwon web', 'usage: There is no command “shutdwon”; perhaps you mean shutdown'],
  ])('“%s” means %s', (line, expected) => {
    expect(meaning(line)).toBe(expected);
  });
});

describe('what derives from the table of commands', () => {
  it('lists every command in the program’s help', () => {
    const help = programHelp();
    for (const command of commands) expect(help).toContain(`  ${command.name}`);
  });

  it('tells every option in each command’s help, within 80 columns', () => {
    for (const command of commands) {
      const help = commandHelp(command);
      for (const option of command.options) expect(help).toContain(`--${option.name}`);
      expect(help).toContain(synopsis(command).slice(0, 20));
      expect(Math.max(...help.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);
    }
  });

  it('completes commands, options and values in a real bash', () => {
    const complete = (line: string): string[] => {
      const parts = line.split(' ');
      const script = `${bashCompletion()}
COMP_WORDS=(${parts.map((part) => `'${part}'`).join(' ')}); COMP_CWORD=${parts.length - 1}; _tapyard
echo "\${COMPREPLY[*]}"`;
      return execFileSync('bash', ['-c', script], { encoding: 'utf8' }).trim().split(' ');
    };
    expect(complete('tapyard sh')).toEqual(['shutdown', 'shape']);
    expect(complete('tapyard nat br0 o')).toEqual(['on', 'off']);
    expect(complete('tapyard up --sc')).toEqual(['--scope']);
    expect(complete('tapyard up --scope p')).toEqual(['private']);
  });
});
