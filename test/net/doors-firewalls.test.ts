// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Firewalls } from '../world/firewalls.ts';
import { HostLab, type PortGuest } from '../world/host-lab.ts';
import { hostAddress, until, wanAddress, World } from '../world/world.ts';

/*
 * NAT beside the firewalls that people have, as their packages bring them: guests get through by TCP, UDP and
 * ping, and have DHCP and DNS, and are reached from the LAN at a port that leads to them, before and after each of
 * them is loaded again and restarted; when the network is removed, all rules are as they were.
 */

let world: World;
let firewalls: Firewalls;
let lab: HostLab;
let guest: PortGuest;

async function start(iptables: 'nft' | 'legacy' = 'nft'): Promise<void> {
  firewalls = await Firewalls.start(world, iptables);
  lab = await HostLab.start(world, firewalls.inside);
}

beforeEach(async () => {
  world = World.create();
  await world.serveWan();
});
afterEach(() => world.close());

async function up(): Promise<string[]> {
  await lab.up();
  guest = await lab.guest('192.168.57.50');
  await guest.getsThrough();
  await guest.serve(8080);
  const exposure = {
    address: hostAddress,
    protocol: 'tcp',
    port: 80,
    to: '192.168.57.50',
    to_port: 8080,
  } as const;
  await lab.client.request('expose', { lab: 'seed', exposure });
  await isReached();
  const doors = (await lab.network())?.doors ?? [];
  expect(doors.filter(({ state }) => state !== 'open')).toEqual([]);
  return doors.map(({ chain, firewall }) => `${firewall}: ${chain}`).sort();
}

/** The guest's port on the LAN, from wan1. */
const isReached = (): Promise<boolean> =>
  until('the guest is reached from the LAN', 30_000, async () => {
    const script = `timeout 3 nc -w 2 ${hostAddress} 80 </dev/null | head -n 1`;
    const said = await world.run(['sh', '-c', script], { as: 'root', in: 'wan1' });
    return said.stdout === `you are ${wanAddress}\n`;
  });

test('ufw: reload, and off and on again', async () => {
  await start();
  await firewalls.sh('ufw default deny incoming; ufw default deny routed; ufw --force enable; ufw reload');
  const rules = await firewalls.rules();
  const files = await firewalls.ufwFiles();
  expect(await up()).toEqual(['ufw: ip filter FORWARD', 'ufw: ip filter INPUT']);
  // iptables reads what netd wrote.
  expect(await firewalls.sh('iptables -S FORWARD; iptables -S INPUT')).toContain(
    '-A FORWARD -i br0 -m comment --comment "tapyard:0:seed:br0" -j ACCEPT',
  );
  expect(await firewalls.sh('iptables -S INPUT')).toMatch(
    /-A INPUT -i br0 -p udp -m udp --dport 67 .*--comment "tapyard:0:seed:br0" .*-j ACCEPT/,
  );
  expect(await firewalls.ufwFiles()).toBe(files);
  await firewalls.sh('ufw reload');
  const reloaded = await firewalls.ufwFiles();
  await guest.getsThrough();
  await isReached();
  await lab.down();
  expect(await firewalls.rules()).toEqual(rules);
  expect(await firewalls.ufwFiles(), 'only ufw itself has written to /etc/ufw').toBe(reloaded);
  await lab.up();
  await firewalls.sh('ufw disable; ufw --force enable');
  await guest.plug();
  await guest.getsThrough();
});

const restore = 'iptables-save > /run/saved; iptables-restore < /run/saved';

test('Docker: restart, and rules that somebody saved and restored', async () => {
  await start();
  let stop = await firewalls.docker();
  // What Docker itself leaves after a restart differs from what it makes at first.
  await firewalls.sh(restore);
  await stop();
  stop = await firewalls.docker();
  // A restore alone makes base chains that were not there.
  await firewalls.sh(restore);
  const rules = await firewalls.rules();
  expect(await firewalls.sh('iptables -S FORWARD')).toContain('-P FORWARD DROP');
  expect(await up()).toEqual(['docker: ip filter DOCKER-USER']);
  await stop();
  await guest.getsThrough();
  stop = await firewalls.docker();
  await guest.getsThrough();
  await isReached();
  await firewalls.sh(restore);
  await guest.getsThrough();
  await lab.down();
  expect(await firewalls.rules()).toEqual(rules);
  await stop();
});

test('policies of iptables over nf_tables, for IPv4', async () => {
  await start();
  const strict =
    'iptables -P FORWARD DROP; iptables -P INPUT DROP; iptables -A INPUT -i lo -j ACCEPT; iptables -A INPUT -m state --state ESTABLISHED -j ACCEPT; iptables -A INPUT -p icmp -j ACCEPT';
  await firewalls.sh(strict);
  const rules = await firewalls.rules();
  expect(await up()).toEqual(['iptables: ip filter FORWARD', 'iptables: ip filter INPUT']);
  await firewalls.sh(`iptables -F; ${strict}`);
  await guest.getsThrough();
  await firewalls.sh('iptables -I FORWARD -j REJECT');
  await guest.getsThrough();
  await firewalls.sh('iptables -D FORWARD -j REJECT');
  await lab.down();
  expect(await firewalls.rules()).toEqual(rules);
});

test('the old iptables, where its table is there already', async () => {
  await start('legacy');
  const strict =
    'iptables -P FORWARD DROP; iptables -P INPUT DROP; iptables -A INPUT -i lo -j ACCEPT; iptables -A INPUT -m state --state ESTABLISHED -j ACCEPT; iptables -A INPUT -p icmp -j ACCEPT';
  await firewalls.sh(strict);
  const rules = await firewalls.rules();
  expect(rules.legacy).toContain('filter');
  expect(await up()).toEqual([
    'iptables: iptables-legacy filter FORWARD',
    'iptables: iptables-legacy filter INPUT',
  ]);
  await firewalls.sh(`iptables -F; ${strict}`);
  await guest.getsThrough();
  await firewalls.sh('iptables -I FORWARD -j REJECT');
  await guest.getsThrough();
  await firewalls.sh('iptables -D FORWARD -j REJECT');
  await lab.down();
  expect(await firewalls.rules()).toEqual(rules);
});

test('no table of the old iptables is made by looking for it', async () => {
  await start('legacy');
  await up();
  await lab.down();
  expect(await firewalls.rules()).toEqual({ nft: [[], {}], legacy: [] });
});

test('firewalld: reload, and restart', async () => {
  await start();
  await firewalls.bus();
  let stop = await firewalls.firewalld();
  const rules = await firewalls.rules();
  const zones = await firewalls.sh('firewall-cmd --list-all-zones');
  expect(await up()).toEqual(['firewalld: zone trusted']);
  const zone = (): Promise<string> => firewalls.sh('firewall-cmd --zone=trusted --list-interfaces');
  expect(await zone()).toBe('br0\n');
  await firewalls.sh('firewall-cmd --reload');
  await guest.getsThrough();
  await isReached();
  expect(await zone()).toBe('br0\n');
  await stop();
  await guest.getsThrough();
  stop = await firewalls.firewalld();
  await guest.getsThrough();
  expect(await zone()).toBe('br0\n');
  await lab.down();
  expect(await firewalls.sh('firewall-cmd --list-all-zones')).toBe(zones);
  // firewalld keeps the chains of a zone that nobody uses until it is loaded again.
  await firewalls.sh('firewall-cmd --reload');
  expect(await firewalls.rules()).toEqual(rules);
  await stop();
});

test('firewalld, for a user whom polkit lets change nothing: by rules, which go, and nothing that was refused stays', async () => {
  firewalls = await Firewalls.start(world);
  await firewalls.bus();
  const endPolkit = await firewalls.polkit('// nothing');
  const stop = await firewalls.firewalld();
  const rules = await firewalls.rules();
  lab = await HostLab.start(world, firewalls.inside, 'user');
  await lab.up();
  guest = await lab.guest('192.168.57.50');
  await guest.getsThrough();
  const doors = (await lab.network())?.doors ?? [];
  expect(doors.map(({ chain, state }) => `${chain}: ${state}`).sort()).toEqual([
    'inet firewalld filter_FORWARD: open',
    'inet firewalld filter_INPUT: open',
  ]);
  await lab.down();
  expect(await lab.network()).toBe(undefined);
  expect(await firewalls.rules()).toEqual(rules);
  await stop();
  await endPolkit();
});
