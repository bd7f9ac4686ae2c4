// SPDX-License-Identifier: Apache-2.0
import { TapyardError } from '../../contract/error.ts';
import { Scope } from '../../contract/names.ts';
import type { GuestRow } from '../../contract/rows.ts';
import type { Connection } from '../../contract/client.ts';
import type { Invocation, Run } from '../commands.ts';
import { guestEntry, reachText } from '../guests.ts';
import { jobDone, runJob } from '../job.ts';
import { rowsOf } from '../mirror.ts';
import { absoluteFile, labFileName } from '../select-lab.ts';
import { printJson, safeLine } from '../terminal.ts';

/** How long guests may take to their leases, ms. */
const leaseDeadline = 60_000;

/** Guests that should have an address by DHCP and have none yet. */
export function withoutLease(guests: readonly GuestRow[]): GuestRow[] {
  return guests.filter((guest) => guest.wanted && guest.nics.some((nic) => !nic.leased));
}

/**
 * Brings the lab of `file` up.
 * @returns the exit status: 0, or 130 after Ctrl+C
 * @throws TapyardError what `lab.open` and the job fail with; DEADLINE where guests have no lease
 */
export async function bringUp(
  connection: Connection,
  invocation: Pick<Invocation, 'terminal'>,
  file: string,
  scope: Scope | undefined,
): Promise<{ status: number; lab: string }> {
  const { client } = connection;
  const { lab } = await client.lab.open({ file });
  const end = await runJob(
    connection,
    invocation.terminal,
    lab,
    () => client.lab.up({ lab, waitReachable: leaseDeadline, ...(scope === undefined ? {} : { scope }) }),
    { cancellable: true },
  );
  if (end.interrupted) {
    if (end.row.state === 'failed') jobDone(end.row);
    return { status: 130, lab };
  }
  jobDone(end.row);
  return { status: 0, lab };
}

export const run: Run = async (invocation) => {
  const { terminal, options } = invocation;
  const file = absoluteFile(invocation.arguments[0] ?? labFileName);
  const scope = Scope.optional().parse(options['scope']);
  return invocation.core(async (connection) => {
    const { status, lab } = await bringUp(connection, invocation, file, scope);
    if (status !== 0) return status;
    const guests = (await rowsOf(connection, connection.client.tables.guests)).filter(
      (guest) => guest.lab === lab,
    );
    const lacking = withoutLease(guests);
    if (lacking.length > 0) {
      throw new TapyardError(
        'DEADLINE',
        `The lab is up, but no DHCP lease came within 60 s for: ${lacking.map((guest) => guest.name).join(', ')}.`,
        { hint: `Look at its console: tapyard console ${lacking[0]?.name ?? 'GUEST'}`, subject: lab },
      );
    }
    const uplink = (await rowsOf(connection, connection.client.tables.labs)).find(
      (row) => row.name === lab,
    )?.uplink;
    if (uplink?.provider === 'none' && uplink.reason !== null) {
      terminal.err(`tapyard: the lab has no uplink: ${safeLine(uplink.reason.message)}\n`);
      if (uplink.reason.hint !== undefined) terminal.err(`  ${safeLine(uplink.reason.hint)}\n`);
    }
    if (options['json'] === true) printJson(terminal, { lab, guests: guests.map(guestEntry) });
    else terminal.out(`Lab ${lab} is up.\n${guests.map((guest) => `  ${reachText(guest)}\n`).join('')}`);
    return 0;
  });
};
