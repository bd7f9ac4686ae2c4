// SPDX-License-Identifier: Apache-2.0
import type { GuestRow, LabRow } from '../../contract/rows.ts';
import type { Run } from '../commands.ts';
import { guestEntry } from '../guests.ts';
import { rowsOf } from '../mirror.ts';
import { chooseLab } from '../select-lab.ts';
import { columns, printJson, safeLine } from '../terminal.ts';

/** The table of guests for people. */
export function listText(labs: readonly LabRow[], guests: readonly GuestRow[]): string {
  if (guests.length === 0) return 'No guests. A lab is brought up with: tapyard up FILE\n';
  const rows = guests.map((guest) => [
    guest.lab,
    guest.name,
    guest.stateReason === null ? guest.state : `${guest.state} (${guest.stateReason})`,
    guest.nics.map((nic) => nic.address ?? '-').join(',') || '-',
    guest.nics.map((nic) => `${nic.network}/${nic.tap ?? '-'}`).join(',') || '-',
    guest.pid === null ? '-' : `${guest.pid} ${guest.accelerator ?? ''}`.trimEnd(),
  ]);
  const table = columns([
    ['LAB', 'GUEST', 'STATE', 'ADDRESS', 'PORT', 'PID'],
    ...rows.map((row) => row.map(safeLine)),
  ]);
  const problems = labs.flatMap((lab) =>
    lab.problems.map((problem) => `${lab.file}:${problem.line}:${problem.column}: ${problem.message}`),
  );
  return table + problems.map((problem) => `${safeLine(problem)}\n`).join('');
}

export const run: Run = ({ core, options, terminal }) =>
  core(async (connection) => {
    const labs = await rowsOf(connection, connection.client.tables.labs);
    const named = options['lab'];
    const only = typeof named === 'string' ? chooseLab(labs, named, undefined) : undefined;
    const guests = (await rowsOf(connection, connection.client.tables.guests)).filter(
      (guest) => only === undefined || guest.lab === only,
    );
    if (options['json'] === true) printJson(terminal, guests.map(guestEntry));
    else terminal.out(listText(labs, guests));
    return 0;
  });
