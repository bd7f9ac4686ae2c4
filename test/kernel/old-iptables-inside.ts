// SPDX-License-Identifier: Apache-2.0
/* What old-iptables.test.ts runs in a distribution's kernel, as root: `node old-iptables-inside.mjs CHECK`. */
import { deepEqual } from 'node:assert/strict';
import { HostLab } from '../world/host-lab.ts';
import { World } from '../world/world.ts';

const strict = `iptables-legacy -P FORWARD DROP; iptables-legacy -P INPUT DROP
  iptables-legacy -A INPUT -i lo -j ACCEPT; iptables-legacy -A INPUT -p icmp -j ACCEPT
  iptables-legacy -A INPUT -m state --state ESTABLISHED -j ACCEPT
  ip6tables-legacy -P INPUT DROP`;
const rules = 'iptables-legacy -S; ip6tables-legacy -S';
const names = 'cat /proc/net/ip_tables_names /proc/net/ip6_tables_names';
const load = 'modprobe iptable_filter; modprobe ip6table_filter';
const ipv6 = 'fd12:3456:789a:1::/64';

async function doors(lab: HostLab): Promise<string[]> {
  return ((await lab.network())?.doors ?? []).map(({ chain, state }) => `${chain}: ${state}`);
}

const checks: Record<string, (lab: HostLab) => Promise<void>> = {
  /** The kernel lists its hooks, which a netd with file capabilities may see. */
  hooks: async (lab) => {
    await lab.host(load);
    await lab.up({ ipv6 });
    deepEqual(await doors(lab), []);
    deepEqual(await lab.host(names), '', 'looking made no table');
    await lab.down();
    await lab.host(strict);
    const before = await lab.host(rules);
    await lab.up({ ipv6 });
    const opened = await doors(lab);
    for (const chain of [
      'iptables-legacy filter FORWARD',
      'iptables-legacy filter INPUT',
      'ip6tables-legacy filter INPUT',
    ])
      deepEqual(opened.includes(`${chain}: open`), true, `${chain} in ${opened.join()}`);
    const guest = await lab.guest('192.168.57.50');
    await guest.getsThrough(60_000);
    await lab.down();
    deepEqual(await lab.host(rules), before);
  },

  /** It does not: whether there is a table is root's to know. */
  unseen: async (lab) => {
    await lab.up({ ipv6 });
    deepEqual(await doors(lab), [], 'no module of the old iptables is loaded');
    await lab.host(load);
    await lab.up({ ipv6 });
    deepEqual(await doors(lab), ['iptables-legacy filter: unseen', 'ip6tables-legacy filter: unseen']);
    deepEqual(await lab.host(names), '', 'looking made no table');
    await lab.down();
  },
};

const check = checks[process.argv[2] ?? ''];
if (check === undefined) throw new Error(`there is no check ${process.argv[2]}`);
const world = World.create();
try {
  await world.serveWan();
  await check(await HostLab.start(world, undefined, 'capable'));
} finally {
  world.close();
}
