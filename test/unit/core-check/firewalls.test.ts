// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { whatTheyDo } from '../../../electron/core/check/firewalls.ts';
import type { NetdDoor } from '../../../electron/core/net/netd-protocol.ts';

const door = (more: Partial<NetdDoor>): NetdDoor => ({
  chain: 'ip filter FORWARD',
  firewall: 'docker',
  state: 'open',
  command: null,
  reason: null,
  ...more,
});
const find = (...doors: NetdDoor[]) => whatTheyDo([{ name: 'br0', doors }]);

describe('what tapyard check says of other firewalls', () => {
  it('is well where all let the network through', () => {
    expect(find().state).toBe('ok');
    expect(find(door({}))).toEqual({
      state: 'ok',
      found: 'br0: Docker, ip filter FORWARD: would drop it, lets it through.',
      fixes: [],
    });
  });

  it('is what to type where one does not', () => {
    const shut = door({ state: 'shut', firewall: 'ufw', command: 'ufw allow in on br0', reason: 'no leave' });
    expect(find(door({}), shut)).toMatchObject({
      state: 'warning',
      fixes: [{ text: 'Let br0 through ufw', command: 'ufw allow in on br0' }],
    });
  });

  it('is where to look where that is root’s to see, and who sees it', () => {
    const unseen = door({
      chain: 'iptables-legacy filter',
      firewall: 'iptables',
      state: 'unseen',
      command: 'iptables-legacy -S',
      reason: 'this kernel shows its tables to root alone',
    });
    expect(find(unseen)).toEqual({
      state: 'warning',
      found:
        'br0: iptables, iptables-legacy filter: may drop it, which is root’s to see. ' +
        'Not seen: this kernel shows its tables to root alone.',
      fixes: [{ text: 'See whether iptables drops what br0 sends', command: 'iptables-legacy -S' }],
    });
  });
});
