// SPDX-License-Identifier: Apache-2.0
import { TapyardError } from '../../contract/error.ts';
import type { GuestRow } from '../../contract/rows.ts';
import { isShape, jitterProblem, ShapeDefinition, shapeText } from '../../contract/shape.ts';
import type { Invocation, Run } from '../commands.ts';
import { rowsOf } from '../mirror.ts';
import { labOf } from '../select-lab.ts';
import { printJson, safeLine } from '../terminal.ts';

const keys = ['rate', 'delay', 'jitter', 'loss'] as const;

/** shape: what a NIC is held to, told, set or taken off. */
export const run: Run = (invocation) => {
  const { terminal, options } = invocation;
  const [guest = '', ...words] = invocation.arguments;
  const nic = nicOf(words.filter((word) => word !== 'off'));
  const wanted = wantedOf(invocation, words.includes('off'));
  return invocation.core(async (connection) => {
    const lab = await labOf(connection, invocation);
    const name = `eth${nic} of ${guest}`;
    if (wanted) {
      const { changed, live } = await connection.client.guest.setShape({ lab, guest, nic, shape: wanted });
      if (options['json'] === true) printJson(terminal, { lab, guest, nic, shape: wanted, changed, live });
      else {
        const when = live ? '' : ' from its next start on';
        terminal.out(
          isShape(wanted)
            ? `${name} is held to ${shapeText(wanted)}${when}.\n`
            : `${name} is held to nothing${when}.\n`,
        );
      }
      return 0;
    }
    const row = (await rowsOf(connection, connection.client.tables.guests)).find(
      (other) => other.lab === lab && other.name === guest,
    );
    const held = nicIn(lab, guest, row, nic);
    if (options['json'] === true)
      printJson(terminal, { lab, guest, nic, shape: held.shape, wanted: held.wantedShape });
    else {
      const file = shapeText(held.wantedShape);
      const now = shapeText(held.shape);
      const other = now === file ? '' : ` The lab file says ${file === '' ? 'nothing' : file}.`;
      terminal.out(safeLine(`${name} is held to ${now === '' ? 'nothing' : now}.${other}`) + '\n');
    }
    return 0;
  });
};

function nicOf(words: readonly string[]): number {
  const [word = '0', ...more] = words;
  if (/^[0-9]{1,2}$/.test(word) && more.length === 0) return Number(word);
  throw new TapyardError('USAGE', `${safeLine(words.join(' '))} is no NIC: they count from 0.`);
}

/** What the options say; undefined where they ask nothing. */
function wantedOf({ options }: Invocation, off: boolean): ShapeDefinition | undefined {
  const given = keys.filter((key) => options[key] !== undefined);
  if (off) {
    if (given.length === 0) return {};
    throw new TapyardError('USAGE', `off and --${given[0]} exclude each other.`);
  }
  if (given.length === 0) return undefined;
  const read = ShapeDefinition.safeParse(Object.fromEntries(given.map((key) => [key, options[key]])));
  if (!read.success) {
    const [issue] = read.error.issues;
    const key = String(issue?.path[0]);
    throw new TapyardError('USAGE', `--${key} ${safeLine(String(options[key]))} is not ${issue?.message}.`);
  }
  const jitter = jitterProblem(read.data);
  if (jitter !== undefined) throw new TapyardError('USAGE', `--jitter: ${jitter}.`);
  return read.data;
}

function nicIn(lab: string, guest: string, row: GuestRow | undefined, nic: number): GuestRow['nics'][number] {
  if (!row)
    throw new TapyardError('NO_SUCH_GUEST', `There is no guest "${guest}" in the lab ${lab}.`, {
      hint: 'See what there is: tapyard ls.',
      subject: `${lab}/${guest}`,
    });
  const held = row.nics[nic];
  if (held) return held;
  throw new TapyardError('NO_SUCH_NIC', `The guest ${guest} has no NIC eth${nic}.`, {
    hint: row.nics.length === 0 ? 'It has none at all.' : `It has eth0 to eth${row.nics.length - 1}.`,
    subject: `${lab}/${guest}`,
  });
}
