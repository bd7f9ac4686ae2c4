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
    const what = answer.changed ? `is ${state}` : `was ${state} already`;
    const cut = flowsText(answer.flowsRemoved);
    invocation.terminal.out(`NAT of ${network} ${what} (${duration(answer.ms)}${cut}).\n`);
    return 0;
  });

/** What became of connections that ran; empty where none did. */
export function flowsText(removed: number): string {
  if (removed === 0) return '';
  return `, ${removed} ${removed === 1 ? 'flow' : 'flows'} cut`;
}
