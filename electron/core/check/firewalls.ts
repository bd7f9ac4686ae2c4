// SPDX-License-Identifier: Apache-2.0
import { doorWords } from '../../contract/doors.ts';
import { connectNetd } from '../net/netd-process.ts';
import { type Check, type Finding, ok, warning } from './check.ts';

/** What other firewalls do to the networks that are on this computer now. */
export const firewalls: Check = {
  id: 'firewalls',
  title: 'Other firewalls',
  async look(): Promise<Finding> {
    // All labs in the host scope have one netd.
    const netd = await connectNetd('host', '');
    if (!netd) return ok('No lab is in the host scope; no other firewall concerns the private one.');
    try {
      const { networks } = await netd.request('observe', {});
      const doors = networks.flatMap(({ name, doors: all }) => all.map((door) => ({ name, ...door })));
      if (doors.length === 0) return ok('None drops what the networks in the host scope send.');
      const found = doors.map((door) => `${door.name}: ${doorWords(door)}`).join('; ');
      const shut = doors.filter(({ state }) => state === 'shut');
      if (shut.length === 0) return ok(`${found}.`);
      return warning(
        `${found}.`,
        ...shut.flatMap(({ name, firewall, command }) =>
          command === null ? [] : [{ text: `Let ${name} through ${firewall}`, command }],
        ),
      );
    } finally {
      netd.close();
    }
  },
};
