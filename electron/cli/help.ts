// SPDX-License-Identifier: Apache-2.0
import { commands, type CommandSpec, type OptionSpec } from './commands.ts';

const width = 80;
const indent = 7;

/** `text` broken into lines of at most `width` characters, each after `spaces` spaces. */
function filled(text: string, spaces: number): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width - spaces) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line].map((each) => `${' '.repeat(spaces)}${each}\n`).join('');
}

const section = (title: string, body: string): string => (body === '' ? '' : `\n${title}\n${body}`);

function flag(option: OptionSpec): string {
  const short = option.short === undefined ? '' : `-${option.short}, `;
  const value = option.values === undefined ? option.value : option.values.join('|');
  return `${short}--${option.name}${value === undefined ? '' : ` ${value}`}`;
}

/** `tapyard up [FILE] [--scope private|host] [--json]`. */
export function synopsis(command: CommandSpec): string {
  return [
    'tapyard',
    command.name,
    ...command.arguments,
    ...command.options.map((option) => `[${flag(option)}]`),
    ...(command.rest === undefined ? [] : [command.rest]),
  ].join(' ');
}

const statuses = [
  ['0', 'done'],
  ['1', 'failed; stderr says what, why, and the error’s code'],
  ['2', 'wrong usage'],
] as const;

function exitStatus(more: NonNullable<CommandSpec['statuses']> = []): string {
  const all = [...statuses, ...more];
  const longest = Math.max(...all.map(([status]) => status.length));
  return `EXIT STATUS\n${all.map(([status, text]) => `       ${status.padEnd(longest)}  ${text}\n`).join('')}`;
}

/** Help of the whole program. */
export function programHelp(): string {
  const longest = Math.max(
    ...commands.map((command) => [command.name, ...command.arguments].join(' ').length),
  );
  const list = commands
    .map((command) => {
      const call = [command.name, ...command.arguments].join(' ');
      return `       ${call.padEnd(longest)}  ${command.summary}\n`;
    })
    .join('');
  return `NAME
       tapyard - build and see labs of KVM guests and their network

SYNOPSIS
       tapyard [COMMAND] [ARGUMENT...] [OPTION...]
${section('COMMANDS', list)}
       tapyard help COMMAND tells more about one. Without a command: open.

OPTIONS
       -h, --help     Show this, or the help of a command.
       -V, --version  Show the version.

${exitStatus()}
FILES
       ./tapyard.yaml            The lab file that up takes.
       ~/.local/share/tapyard/   The guests' disks, and the labs' ssh keys.
       ~/.local/state/tapyard/   Logs, and what guests said on their consoles.
       ~/.cache/tapyard/         What can be made again.
       /etc/tapyard/netd.conf    Who may put guests on which bridge or interface,
                                 and how much of the host's network a user has.
       $XDG_RUNTIME_DIR/tapyard/ Sockets; without the variable in /run/user/UID
                                 or /tmp/tapyard-UID.

ENVIRONMENT
       TAPYARD_ACCEL                kvm or tcg: what guests run on, without the probe.
       XDG_DATA_HOME, XDG_STATE_HOME, XDG_CACHE_HOME
                                    In the place of ~/.local/share, ~/.local/state
                                    and ~/.cache.
       ELECTRON_OVERRIDE_DIST_PATH  A directory with an Electron to open the window
                                    with.
`;
}

/** Help of one command. */
export function commandHelp(command: CommandSpec): string {
  const options = command.options
    .map((option) => `${' '.repeat(indent)}${flag(option)}\n${filled(option.text, indent + 4)}`)
    .join('\n');
  const examples = (command.examples ?? [])
    .map(([call, text]) => `${' '.repeat(indent)}${call}\n${filled(text, indent + 4)}`)
    .join('\n');
  return [
    `NAME\n${filled(`tapyard ${command.name} - ${command.summary}`, indent)}`,
    section('SYNOPSIS', filled(synopsis(command), indent)),
    section('DESCRIPTION', command.description.map((paragraph) => filled(paragraph, indent)).join('\n')),
    section('OPTIONS', options),
    section('EXAMPLES', examples),
    `\n${exitStatus(command.statuses)}`,
  ].join('');
}
