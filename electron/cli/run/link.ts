// SPDX-License-Identifier: Apache-2.0
import type { Run } from '../commands.ts';
import { labOf } from '../select-lab.ts';
import { printJson } from '../terminal.ts';

/** link: the guest's carrier, as if somebody pulled the cable out of its NIC. */
export const run: Run = (invocation) =>
  invocation.core(async (connection) => {
    const [guest = '', wanted, number = '0'] = invocation.arguments;
    const lab = await labOf(connection, invocation);
    // A word that is no number is no NIC either; the core says which there are.
    const nic = /^[0-9]{1,2}$/.test(number) ? Number(number) : -1;
    const { changed } = await connection.client.guest.setLink({ lab, guest, nic, up: wanted === 'up' });
    if (invocation.options['json'] === true) {
      printJson(invocation.terminal, { lab, guest, nic, up: wanted === 'up', changed });
      return 0;
    }
    invocation.terminal.out(
      `eth${nic} of ${guest} ${changed ? 'is' : 'was'} ${wanted}${changed ? '' : ' already'}.\n`,
    );
    return 0;
  });
