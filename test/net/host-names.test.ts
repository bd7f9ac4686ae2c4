// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { NetdHostNames } from '../../electron/core/net/netd-protocol.ts';
import { Firewalls } from '../world/firewalls.ts';
import { br0, HostLab } from '../world/host-lab.ts';
import { checkoutInside, until, wanAddress, World } from '../world/world.ts';

/*
 * Names of guests on the host: the real systemd-resolved, as its package brings it, asks a network's dnsmasq for
 * names below .lab and for nothing else, also after a restart, and no longer when the network is gone. The fake
 * internet answers for every name, so that each answer tells who was asked.
 */

let world: World;
let host: Firewalls;

beforeEach(async () => {
  world = World.create();
  await world.serveWan();
  host = await Firewalls.start(world);
  await host.bus();
});
afterEach(() => world.close());

/** The host's answer for a name, with the interface of the server that gave it, or why there is none. */
async function ask(name: string): Promise<string | undefined> {
  const query = ['resolvectl', '--no-pager', '--cache=no', '-4', 'query', name];
  const { stdout, stderr } = await world.run(host.inside(query), { as: 'root' });
  return (stdout + stderr).split('\n')[0]?.replaceAll(/\s+/g, ' ');
}

/** Waits until a name's answer comes from the server of this interface, and answers it. */
function askOf(interfaceName: string, name: string): Promise<string> {
  return until(`${name} is asked of ${interfaceName}`, 30_000, async () => {
    const answer = await ask(name);
    return answer?.endsWith(`link: ${interfaceName}`) === true ? answer : false;
  });
}

/** Waits until netd says this of the names of br0, and answers all that it says. */
async function state(lab: HostLab, wanted: NetdHostNames['state'] | undefined): Promise<NetdHostNames> {
  const none = { state: 'asking', command: null, reason: null } as const;
  return until(`the names of br0 are ${wanted}`, 30_000, async () => {
    const names = (await lab.network())?.host_names;
    return names?.state === wanted ? (names ?? none) : false;
  });
}

/** A guest on br0 that said its name to DHCP; answers its address. */
async function named(lab: HostLab): Promise<string> {
  const guest = await lab.guest('192.168.57.50');
  await guest.run('busybox udhcpc -i eth0 -x hostname:guest -n -q -f -t 10 -T 1 -s /bin/true');
  return until('the lease', 30_000, async () => (await lab.network())?.leases[0]?.address);
}

test('root’s netd: set, set again after a restart, and gone with the network', async () => {
  let stop = await host.resolved();
  const resolvConf = await host.sh('cat /etc/resolv.conf');
  const lab = await HostLab.start(world, host.inside);
  expect(await askOf('eth0', 'guest.lab')).toBe(`guest.lab: ${wanAddress} -- link: eth0`);
  await lab.up();
  const address = await named(lab);
  await state(lab, 'set');
  expect(await host.sh('resolvectl --no-pager status br0')).toMatch(
    /-DefaultRoute .*DNSSEC=no[^]*DNS Servers: 192\.168\.57\.1\s+DNS Domain: ~lab\s*$/,
  );
  expect(await askOf('br0', 'guest.lab')).toBe(`guest.lab: ${address} -- link: br0`);
  // No other name is asked for there, and a name that no guest has is asked for nowhere else.
  expect(await ask('wan.test')).toBe(`wan.test: ${wanAddress} -- link: eth0`);
  expect(await ask('nobody.lab')).toContain('not found');

  await stop();
  await state(lab, undefined);
  // It remembers what it was told, so it is made to forget.
  await host.sh('rm -rf /run/systemd/resolve/netif');
  stop = await host.resolved();
  await state(lab, 'set');
  expect(await askOf('br0', 'guest.lab')).toContain(address);

  // A network without DNS has no names, and its bridge stays.
  await lab.client.request('apply_network', { lab: 'seed', network: { ...br0, dhcp: null } });
  await askOf('eth0', 'guest.lab');
  expect((await lab.network())?.host_names).toBeUndefined();
  await lab.up();
  await state(lab, 'set');
  await lab.down();
  expect(await askOf('eth0', 'guest.lab')).toBe(`guest.lab: ${wanAddress} -- link: eth0`);
  expect(await host.sh('cat /etc/resolv.conf')).toBe(resolvConf);
  await stop();
});

test('a user’s netd: only where a rule of polkit’s allows it, with no dialogue; else it says what to type', async () => {
  await host.resolved();
  const lab = await HostLab.start(world, host.inside, 'user');
  const stop = await host.polkit('// nothing');
  await lab.up();
  const refused = await state(lab, 'refused');
  expect(refused.reason).toBe("it does so for root, and for others where a rule of polkit's allows it");
  // What it says to type does it.
  await host.sh(refused.command ?? 'false');
  const address = await named(lab);
  expect(await askOf('br0', 'guest.lab')).toContain(address);
  await lab.down();
  await stop();

  await host.sh(`echo tapyard:x:64002:tester >> /etc/group
    cp ${checkoutInside}/assets/polkit/60-tapyard-names.rules /etc/polkit-1/rules.d/`);
  await host.polkit('// nothing');
  await lab.up();
  await state(lab, 'set');
});

test('without systemd-resolved nothing is said of names, and when it starts they are set', async () => {
  const lab = await HostLab.start(world, host.inside);
  await lab.up();
  expect((await lab.network())?.host_names).toBeUndefined();
  await host.resolved();
  await state(lab, 'set');
});
