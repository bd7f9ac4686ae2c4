// SPDX-License-Identifier: Apache-2.0
import { TapyardError } from '../../contract/error.ts';
import type { Run } from '../commands.ts';
import { labOf } from '../select-lab.ts';
import { printJson, safeLine } from '../terminal.ts';

/** unplug: a NIC is taken from a guest, at once where it runs. */
export const run: Run = (invocation) => {
  const { terminal, options } = invocation;
  const [guest = '', word = ''] = invocation.arguments;
  if (!/^[0-7]$/.test(word))
    throw new TapyardError('USAGE', `${safeLine(word)} is no NIC: they count from 0 to 7.`);
  const nic = Number(word);
  return invocation.core(async (connection) => {
    const lab = await labOf(connection, invocation);
    await connection.client.guest.removeNic({ lab, guest, nic });
    if (options['json'] === true) printJson(terminal, { lab, guest, nic, removed: true });
    else terminal.out(`eth${nic} of ${guest} is gone.\n`);
    return 0;
  });
};
