// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from 'node:util';
import { nearest } from '../core/lab/nearest.ts';
import { commandNamed, commands, type CommandSpec } from './commands.ts';

/** What the words after `tapyard` mean. */
export type Parsed =
  | {
      readonly kind: 'run';
      readonly command: CommandSpec;
      readonly arguments: readonly string[];
      /** The words after `--`, where the command takes them. */
      readonly rest: readonly string[];
      readonly options: Readonly<Record<string, string | boolean | undefined>>;
    }
  | { readonly kind: 'help'; readonly command: CommandSpec | undefined }
  | { readonly kind: 'version' }
  | { readonly kind: 'usage'; readonly message: string; readonly command: CommandSpec | undefined };

const helpWords = new Set(['help', '--help', '-h']);

/** Reads the words after `tapyard` by the table of commands. */
export function parse(words: readonly string[]): Parsed {
  const [first, ...rest] = words;
  if (first === undefined) return parse(['open']);
  if (helpWords.has(first)) {
    const named = rest[0] === undefined ? undefined : commandNamed(rest[0]);
    return rest[0] !== undefined && named === undefined
      ? unknownCommand(rest[0])
      : { kind: 'help', command: named };
  }
  if (first === '--version' || first === '-V') return { kind: 'version' };
  // `tapyard --demo` is `tapyard open --demo`.
  if (first.startsWith('-')) return parse(['open', ...words]);
  const command = commandNamed(first);
  return command === undefined ? unknownCommand(first) : parseCommand(command, rest);
}

function parseCommand(command: CommandSpec, words: readonly string[]): Parsed {
  const usage = (message: string): Parsed => ({ kind: 'usage', message, command });
  const options: Record<string, { type: 'string' | 'boolean'; short?: string }> = {
    help: { type: 'boolean', short: 'h' },
  };
  for (const option of command.options) {
    options[option.name] = {
      type: option.value === undefined ? 'boolean' : 'string',
      ...(option.short === undefined ? {} : { short: option.short }),
    };
  }
  const dashes = command.rest === undefined ? -1 : words.indexOf('--');
  const own = dashes === -1 ? words.length : dashes;
  let parsed: { values: Record<string, unknown>; positionals: string[] };
  try {
    parsed = parseArgs({ args: words.slice(0, own), options, allowPositionals: true, strict: true });
  } catch (thrown) {
    // Node's second sentence is about its own way out ("To specify a positional argument …").
    return usage((thrown instanceof Error ? thrown.message : String(thrown)).split(/\.(?: |$)/)[0] ?? '');
  }
  const values: Record<string, string | boolean | undefined> = {};
  for (const [name, value] of Object.entries(parsed.values)) {
    if (typeof value === 'string' || typeof value === 'boolean') values[name] = value;
  }
  if (values['help'] === true) return { kind: 'help', command };
  for (const { name, values: allowed } of command.options) {
    const value = values[name];
    if (allowed !== undefined && typeof value === 'string' && !allowed.includes(value)) {
      return usage(`--${name} takes ${allowed.join(' or ')}, not “${value}”`);
    }
  }
  const given = parsed.positionals;
  const missing = command.arguments.filter((name) => !name.startsWith('['))[given.length];
  if (missing !== undefined) return usage(`${missing} is missing`);
  const extra = given[command.arguments.length];
  if (extra !== undefined) return usage(`“${extra}” is one argument too many`);
  for (const [index, name] of command.arguments.entries()) {
    const allowed = command.choices?.[name];
    const value = given[index];
    if (allowed !== undefined && value !== undefined && !allowed.includes(value)) {
      return usage(`“${value}” is not ${allowed.join(' or ')}`);
    }
  }
  return { kind: 'run', command, arguments: given, rest: words.slice(own + 1), options: values };
}

function unknownCommand(name: string): Parsed {
  const near = nearest(
    name,
    commands.map((command) => command.name),
  );
  const guess = near === undefined ? '' : `; perhaps you mean ${near}`;
  return { kind: 'usage', message: `There is no command “${name}”${guess}`, command: undefined };
}
