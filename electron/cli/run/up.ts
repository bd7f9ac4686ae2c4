// SPDX-License-Identifier: Apache-2.0
import { TapyardError } from '../../contract/error.ts';
import { Scope } from '../../contract/names.ts';
import type { GuestRow, NetworkRow, JobRow } from '../../contract/rows.ts';
import type { Connection } from '../../contract/client.ts';
import type { Invocation, Run } from '../commands.ts';
import { guestEntry, reachText } from '../guests.ts';
import { jobDone, runJob } from '../job.ts';
import { Mirror, rowsOf } from '../mirror.ts';
import { absoluteFile, labFileName } from '../select-lab.ts';
import { adviceText, printJson, safeLine } from '../terminal.ts';

/** How long guests may take to their leases, ms. */
const leaseDeadline = 60_000;
/** How long the guests' table may take to show what the job has waited for, ms. */
const settleDeadline = 2000;

/**
 * What keeps a lab that is up from being usable, for people: guests that have crashed, and running ones that
 * have no lease on a network that hands them out.
 */
export function notReachable(guests: readonly GuestRow[], networks: readonly NetworkRow[]): string[] {
  const dhcp = new Set(
    networks.filter((row) => (row.observed?.dns?.from ?? '') !== '').map((row) => `${row.lab}/${row.name}`),
  );
  return guests
    .filter((guest) => guest.wanted)
    .flatMap((guest) => {
      if (guest.state === 'crashed')
        return [`${guest.name} has crashed (${guest.stateReason ?? 'unknown why'})`];
      if (guest.state === 'starting') return [`${guest.name} is still starting`];
      const waits = guest.nics.some((nic) => dhcp.has(`${guest.lab}/${nic.network}`) && !nic.leased);
      return guest.state === 'running' && waits ? [`${guest.name} has no DHCP lease`] : [];
    });
}

/** The last line after Ctrl+C: what became of what was done. */
export const undoneText = (lab: string, state: JobRow['state']): string =>
  state === 'done'
    ? `It was too late to cancel: ${lab} is up. To bring it down: tapyard down\n`
    : `Undone: nothing of this up of ${lab} is left.\n`;

/** What a kernel before Linux 6.17 takes for IPv6 in the host scope. */
const router6Text =
  'While labs with ipv6 are up, this computer forwards IPv6 (net.ipv6.conf.all.forwarding), because this kernel cannot for one interface alone; what is not a lab’s is dropped. “tapyard down” switches it off.\n';

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
    invocation.terminal.err(undoneText(lab, end.row.state));
    return { status: 130, lab };
  }
  jobDone(end.row);
  return { status: 0, lab };
}

export const run: Run = async (invocation) => {
  const { terminal, options } = invocation;
  const file = absoluteFile(invocation, invocation.arguments[0] ?? labFileName);
  const scope = Scope.optional().parse(options['scope']);
  return invocation.core(async (connection) => {
    const { status, lab } = await bringUp(connection, invocation, file, scope);
    if (status !== 0) return status;
    const { tables } = connection.client;
    const mirror = await Mirror.open(connection, tables.guests);
    const networks = await rowsOf(connection, tables.networks);
    const ofLab = (rows: readonly GuestRow[]): GuestRow[] => rows.filter((guest) => guest.lab === lab);
    const problems = (rows: readonly GuestRow[]): string[] => notReachable(ofLab(rows), networks);
    await mirror.until((rows) => (problems(rows).length === 0 ? true : undefined), settleDeadline);
    const guests = ofLab(mirror.list());
    mirror.close();
    const lacking = problems(guests);
    if (lacking.length > 0) {
      throw new TapyardError(
        'DEADLINE',
        `The lab is up, but after 60 s not all is well: ${lacking.join('; ')}.`,
        {
          hint: 'Look at its console with tapyard console, or wait: the lab stays up.',
          subject: lab,
        },
      );
    }
    const uplink = (await rowsOf(connection, connection.client.tables.labs)).find(
      (row) => row.name === lab,
    )?.uplink;
    if (uplink?.provider === 'none' && uplink.reason !== null) {
      const { code, message } = uplink.reason;
      terminal.err(`tapyard: the lab has no uplink: ${safeLine(message)} [${safeLine(code)}]\n`);
      terminal.err(adviceText(uplink.reason, '  '));
    }
    if (uplink?.ipv6?.router === true) terminal.err(router6Text);
    for (const { error } of await rowsOf(connection, tables.forwards).then((rows) =>
      rows.filter((row) => row.lab === lab && row.state === 'failed'),
    ))
      if (error !== null)
        terminal.err(
          `tapyard: a forward does not listen: ${safeLine(error.message)} [${safeLine(error.code)}]\n${adviceText(error, '  ')}`,
        );
    if (options['json'] === true) printJson(terminal, { lab, guests: guests.map(guestEntry) });
    else terminal.out(`Lab ${lab} is up.\n${guests.map((guest) => `  ${reachText(guest)}\n`).join('')}`);
    return 0;
  });
};
