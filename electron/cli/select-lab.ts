// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import type { Connection } from '../contract/client.ts';
import { TapyardError } from '../contract/error.ts';
import type { LabRow } from '../contract/rows.ts';
import type { Invocation } from './commands.ts';
import { rowsOf } from './mirror.ts';

type Lab = Pick<LabRow, 'name' | 'file' | 'state'>;

/** The name of the lab file that a command takes when none is named. */
export const labFileName = 'tapyard.yaml';

/**
 * Which lab a command is about: the one that `named` says, else the one whose file is `file`, else the only
 * one that is not down, else the only one. undefined when `file` is a lab file that is not opened yet.
 * @param file the lab file of the current directory, undefined when there is none
 * @throws TapyardError NO_SUCH_LAB, LAB_AMBIGUOUS
 */
export function chooseLab(
  labs: readonly Lab[],
  named: string | undefined,
  file: string | undefined,
): string | undefined {
  if (named !== undefined) {
    const lab = labs.find((each) => each.name === named);
    if (lab !== undefined) return lab.name;
    const known =
      labs.length === 0 ? 'No lab is open' : `Open are: ${labs.map((each) => each.name).join(', ')}`;
    throw new TapyardError('NO_SUCH_LAB', `There is no lab “${named}”.`, {
      hint: `${known}. A lab is opened with: tapyard up FILE`,
      subject: named,
    });
  }
  if (file !== undefined) return labs.find((each) => each.file === file)?.name;
  const up = labs.filter((each) => each.state !== 'down');
  const only = up.length === 1 ? up[0] : labs.length === 1 ? labs[0] : undefined;
  if (only !== undefined) return only.name;
  if (labs.length === 0) {
    throw new TapyardError('NO_SUCH_LAB', 'No lab is open, and there is no tapyard.yaml here.', {
      hint: 'Open one with: tapyard up FILE',
    });
  }
  throw new TapyardError(
    'LAB_AMBIGUOUS',
    `More than one lab is open: ${labs.map((each) => each.name).join(', ')}.`,
    {
      hint: 'Say which one with --lab NAME.',
    },
  );
}

/** A path as an absolute one, seen from the caller's directory. */
export const absoluteFile = ({ cwd }: Pick<Invocation, 'cwd'>, file: string): string =>
  isAbsolute(file) ? file : resolve(cwd(), file);

/**
 * The lab of this invocation, opened from ./tapyard.yaml where it is not yet.
 * @throws TapyardError NO_SUCH_LAB, LAB_AMBIGUOUS, LAB_FILE_*
 */
export async function labOf(connection: Connection, invocation: Invocation): Promise<string> {
  const { lab: named } = invocation.options;
  const labs = await rowsOf(connection, connection.client.tables.labs);
  const here = absoluteFile(invocation, labFileName);
  const file = existsSync(here) ? here : undefined;
  const lab = chooseLab(labs, typeof named === 'string' ? named : undefined, file);
  return lab ?? (await connection.client.lab.open({ file: here })).lab;
}
