// SPDX-License-Identifier: Apache-2.0
import { getegid, getgroups } from 'node:process';
import { type Check, ok, warning } from './check.ts';
import { sysctl } from './user-namespaces.ts';

/** Whether a range of groups as in net.ipv4.ping_group_range (icmp(7)) has one of `groups`. */
export function groupsInRange(range: string, groups: readonly number[]): boolean {
  const [first, last] = range.trim().split(/\s+/).map(Number);
  return first !== undefined && last !== undefined && groups.some((group) => group >= first && group <= last);
}

/** Whether guests of the private scope can ping: pasta forwards pings through ICMP sockets of this user. */
export const ping: Check = {
  id: 'ping',
  title: 'Ping from guests (private scope)',
  look() {
    const range = sysctl('net/ipv4/ping_group_range');
    if (range === undefined) return ok('This kernel does not say; ping may or may not work.');
    const shown = range.replace(/\s+/g, ' ');
    const groups = [getegid?.() ?? -1, ...(getgroups?.() ?? [])];
    if (groupsInRange(range, groups))
      return ok(`net.ipv4.ping_group_range is "${shown}" and has a group of yours.`);
    const why = shown === '1 0' ? 'which allows no group at all' : 'which has no group of yours';
    return warning(
      `net.ipv4.ping_group_range is "${shown}", ${why}: pings from guests in the private scope to the internet get no answer. TCP, UDP and DNS work.`,
      {
        text: 'Allow ping sockets to all groups (most distributions do):',
        command: 'sudo sysctl -w net.ipv4.ping_group_range="0 2147483647"',
      },
      {
        text: 'And for every boot:',
        command: `echo 'net.ipv4.ping_group_range = 0 2147483647' | sudo tee /etc/sysctl.d/60-ping.conf`,
      },
    );
  },
};
