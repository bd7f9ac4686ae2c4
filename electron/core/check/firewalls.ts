// SPDX-License-Identifier: Apache-2.0
import { doorWords, firewallNames } from '../../contract/doors.ts';
import type { NetdNetwork } from '../net/netd-protocol.ts';
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
      return whatTheyDo((await netd.request('observe', {})).networks);
    } finally {
      netd.close();
    }
  },
};

/** What other firewalls do to these networks, and what to type where that is not known or not well. */
export function whatTheyDo(networks: readonly Pick<NetdNetwork, 'name' | 'doors'>[]): Finding {
  const doors = networks.flatMap(({ name, doors: all }) => all.map((door) => ({ name, ...door })));
  if (doors.length === 0) return ok('None drops what the networks in the host scope send.');
  const found = doors.map((door) => `${door.name}: ${doorWords(door)}`).join('; ');
  const fixes = doors.flatMap(({ name, firewall, state, command }) => {
    if (command === null) return [];
    switch (state) {
      case 'shut':
        return [{ text: `Let ${name} through ${firewallNames[firewall]}`, command }];
      case 'unseen':
        return [{ text: `See whether ${firewallNames[firewall]} drops what ${name} sends`, command }];
      case 'open':
      case 'opening':
        return [];
    }
  });
  const unseen = doors.find(({ state }) => state === 'unseen');
  const why = unseen?.reason ? ` Not seen: ${unseen.reason}.` : '';
  const well = doors.every(({ state }) => state === 'open' || state === 'opening');
  return well ? ok(`${found}.`) : warning(`${found}.${why}`, ...fixes);
}
