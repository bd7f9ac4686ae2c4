// SPDX-License-Identifier: Apache-2.0
import type { Connection } from '../../contract/client.ts';
import { NicDefinition } from '../../contract/lab-file.ts';
import { TapyardError } from '../../contract/error.ts';
import type { GuestRow } from '../../contract/rows.ts';
import type { Run } from '../commands.ts';
import { rowsOf } from '../mirror.ts';
import { labOf } from '../select-lab.ts';
import { printJson, safeLine } from '../terminal.ts';

/** plug: one more NIC for a guest, at once where it runs. */
export const run: Run = (invocation) => {
  const { terminal, options } = invocation;
  const [guest = '', network = ''] = invocation.arguments;
  const definition = NicDefinition.safeParse({
    network,
    ...(options['mac'] === undefined ? {} : { mac: options['mac'] }),
    ...(options['address'] === undefined ? {} : { address: options['address'] }),
  });
  if (!definition.success) {
    const [issue] = definition.error.issues;
    const key = String(issue?.path[0] ?? 'network');
    const value = key === 'network' ? network : String(options[key]);
    throw new TapyardError('USAGE', `${key} ${safeLine(value)}: ${issue?.message ?? 'is wrong'}.`);
  }
  return invocation.core(async (connection) => {
    const lab = await labOf(connection, invocation);
    const { nic } = await connection.client.guest.addNic({ lab, guest, nic: definition.data });
    const row = await nicOf(connection, lab, guest, nic);
    if (options['json'] === true) {
      const { mac = null, tap = null, address = null } = row ?? {};
      printJson(terminal, { lab, guest, nic, network, mac, tap, address });
    } else if (row?.tap)
      terminal.out(
        `eth${nic} of ${guest} is plugged into ${network} (${row.tap}), MAC ${row.mac}${row.address === null ? '' : `, address ${row.address}`}.\n`,
      );
    else terminal.out(`${guest} has eth${nic} on ${network} with its next start.\n`);
    return 0;
  });
};

async function nicOf(
  connection: Connection,
  lab: string,
  guest: string,
  nic: number,
): Promise<GuestRow['nics'][number] | undefined> {
  const guests = await rowsOf(connection, connection.client.tables.guests);
  return guests.find((row) => row.lab === lab && row.name === guest)?.nics[nic];
}
