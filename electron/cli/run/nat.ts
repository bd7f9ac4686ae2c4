// SPDX-License-Identifier: Apache-2.0
import type { Run } from '../commands.ts';
import { labOf } from '../select-lab.ts';
import { duration, printJson } from '../terminal.ts';

export const run: Run = (invocation) =>
  invocation.core(async (connection) => {
    const [network = '', wanted] = invocation.arguments;
    const lab = await labOf(connection, invocation);
    const answer = await connection.client.network.setNat({ lab, network, nat: wanted === 'on' });
    if (invocation.options['json'] === true) {
      printJson(invocation.terminal, { lab, network, ...answer });
      return 0;
    }
    const state = answer.nat ? 'on' : 'off';
    const flows = answer.flowsRemoved === 0 ? '' : `, ${answer.flowsRemoved} flows cut`;
    const what = answer.changed ? `is ${state}` : `was ${state} already`;
    invocation.terminal.out(`NAT of ${network} ${what} (${duration(answer.ms)}${flows}).\n`);
    return 0;
  });
