// SPDX-License-Identifier: Apache-2.0
import { type ActRow, actBy } from '../../contract/act.ts';
import { untilSignalled } from '../browser.ts';
import type { Run } from '../commands.ts';
import { Mirror, rowsOf } from '../mirror.ts';
import { labOf } from '../select-lab.ts';
import { adviceText, printJson, safe, safeLine } from '../terminal.ts';

/** So many lines of a command are shown; the rest is in the recipe and in --json. */
const commandLines = 6;

const indent = '    ';

/** Acts for people: what and when, who asked, the command. A line with the date before each day's first. */
export class LogText {
  #day = '';
  #command: string | null = null;

  of(act: ActRow): string {
    const [day, time] = localTime(act.time);
    const head = day === this.#day ? '' : `${day}\n`;
    this.#day = day;
    const again = act.command !== null && act.command === this.#command && act.command.includes('\n');
    // What stands in between is done by commands of its own; the whole table is told once.
    if (act.command?.includes('\n') === true) this.#command = act.command;
    const command = again ? `${indent}$ … the same once more\n` : commandText(act);
    const failed = act.error === null ? '' : '✗ ';
    return `${head}${time}  ${failed}${safeLine(act.what)}\n${indent}by ${safeLine(actBy(act))}\n${errorText(act)}${command}`;
  }
}

function errorText({ error }: ActRow): string {
  if (error === null) return '';
  return `${indent}${safeLine(error.message)} [${error.code}]\n${adviceText(error, indent)}`;
}

function commandText({ command }: ActRow): string {
  if (command === null) return '';
  const lines = safe(command).split('\n');
  const shown = lines.slice(0, lines.length === commandLines + 1 ? commandLines + 1 : commandLines);
  const more = lines.length - shown.length;
  const rest = more === 0 ? [] : [`… ${more} more lines, which --json has`];
  return [...shown.map((line, index) => `${index === 0 ? '$ ' : '  '}${line}`), ...rest]
    .map((line) => `${indent}${line}\n`)
    .join('');
}

const two = (value: number): string => String(value).padStart(2, '0');

/** `2026-01-31` and `13:04:05.678`, where the user is. */
function localTime(ms: number): [day: string, time: string] {
  const at = new Date(ms);
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const millis = String(at.getMilliseconds()).padStart(3, '0');
  return [day, `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${millis}`];
}

/** The acts of a lab, the oldest first. */
const actsOf = (rows: Iterable<ActRow>, lab: string): ActRow[] =>
  [...rows].filter((row) => row.lab === lab).sort((left, right) => left.order - right.order);

export const run: Run = (invocation) => {
  const { terminal, options } = invocation;
  const [named] = invocation.arguments;
  const text = new LogText();
  const lasting = options['follow'] === true;
  let signalled: Promise<unknown> | undefined;
  // The last one that was shown. The numbers are the log's, which outlives the core.
  let shown = 0;
  return invocation.core(
    async (connection) => {
      const lab = await labOf(connection, {
        ...invocation,
        options: { ...options, ...(named === undefined ? {} : { lab: named }) },
      });
      if (!lasting) {
        const acts = actsOf(await rowsOf(connection, connection.client.tables.acts), lab);
        if (options['json'] === true) printJson(terminal, acts);
        else if (acts.length === 0)
          terminal.out(`The network helper has done nothing for ${lab} yet. Bring it up: tapyard up\n`);
        else terminal.out(acts.map((act) => text.of(act)).join(''));
        return 0;
      }
      const ended = (signalled ??= untilSignalled());
      const mirror = await Mirror.open(connection, connection.client.tables.acts);
      const show = (): void => {
        for (const act of actsOf(mirror.rows.values(), lab)) {
          if (act.order <= shown) continue;
          shown = act.order;
          terminal.out(options['json'] === true ? `${JSON.stringify(act)}\n` : text.of(act));
        }
      };
      show();
      mirror.onChange(show);
      const lost = await Promise.race([ended.then(() => undefined), connection.closed]);
      mirror.close();
      if (lost) throw lost;
      return 0;
    },
    { lasting },
  );
};
