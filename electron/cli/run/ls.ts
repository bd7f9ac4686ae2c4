// SPDX-License-Identifier: Apache-2.0
import type { GuestRow, LabRow } from '../../contract/rows.ts';
import type { Run } from '../commands.ts';
import { guestEntry } from '../guests.ts';
import { rowsOf } from '../mirror.ts';
import { chooseLab } from '../select-lab.ts';
import { problemLines } from '../problems.ts';
import { columns, printJson, safeLine } from '../terminal.ts';

/** The table of guests for people. */
export function listText(labs: readonly LabRow[], guests: readonly GuestRow[]): string {
  const problems = labs.flatMap((lab) => problemLines(lab)).join('');
  if (guests.length === 0) {
    const [broken] = labs.filter((lab) => lab.problems.length > 0);
    return broken === undefined
      ? 'No guests. A lab is brought up with: tapyard up FILE\n'
      : `No guests: the lab file of ${safeLine(broken.name)} has a mistake.\n${problems}`;
  }
  const rows = guests.map((guest) => [
    guest.lab,
    guest.name,
    guest.stateReason === null ? guest.state : `${guest.state} (${guest.stateReason})`,
    guest.nics.map((nic) => nic.address ?? '-').join(',') || '-',
    [
      ...guest.nics.map((nic) => `${nic.network}/${nic.tap ?? '-'}${nic.plugged ? '' : ' (cut)'}`),
      ...guest.leftNics.map(({ network, tap }) => `${network}/${tap} (not in the lab file)`),
    ].join(',') || '-',
    guest.pid === null ? '-' : `${guest.pid} ${guest.accelerator ?? ''}`.trimEnd(),
  ]);
  const table = columns([
    ['LAB', 'GUEST', 'STATE', 'ADDRESS', 'PORT', 'PID'],
    ...rows.map((row) => row.map(safeLine)),
  ]);
  return table + problems;
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
    else
      terminal.out(
        listText(
          labs.filter(({ name }) => only === undefined || name === only),
          guests,
        ),
      );
    return 0;
  });
