// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from 'vitest';
import { besideFirewalld } from '../world/firewalld-place.ts';
import { Firewalls } from '../world/firewalls.ts';
import { HostLab, type PortGuest } from '../world/host-lab.ts';
import { until, type Who, World } from '../world/world.ts';

/*
 * NAT beside the firewalls that people have, as their packages bring them: guests get through by TCP, UDP and
 * ping, and have DHCP and DNS, and are reached from the LAN at a port that leads to them, before and after each of
 * them is loaded again and restarted; when the network is removed, all rules are as they were.
 */

let world: World;
let firewalls: Firewalls;
let lab: HostLab;
let guest: PortGuest;

async function start(iptables: 'nft' | 'legacy' = 'nft', as: Who = 'root', before = ''): Promise<void> {
  firewalls = await Firewalls.start(world, iptables);
  await firewalls.sh(before);
  lab = await HostLab.start(world, firewalls.inside, as);
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
  await lab.letIn('192.168.57.50');
  await lab.isReached();
  return lab.openDoors();
}

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
  await lab.isReached();
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
  await lab.isReached();
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

// A netd that root lends a user has kept the lock open, if there was one when it started.
test.each([
  ['root', '', 'root'],
  ['a user to whom root lends it, with the lock', 'umask 077; : > /run/xtables.lock', 'user'],
  ['a user to whom root lends it, before there is a lock', '', 'user'],
] as const)('the old iptables, where its table is there already, for a netd of %s', async (_, before, as) => {
  await start('legacy', as, before);
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

test('nobody’s change of the old iptables is overwritten by who cannot have its lock', async () => {
  await start('legacy', 'user');
  await firewalls.sh('iptables -P FORWARD DROP');
  const rules = await firewalls.rules();
  const letGo = await firewalls.daemon(
    'flock -o /run/xtables.lock sleep 600',
    '! flock -n /run/xtables.lock true',
  );
  expect((await lab.up()).doors).toMatchObject([
    {
      chain: 'iptables-legacy filter FORWARD',
      state: 'shut',
      reason: 'somebody is holding the xtables lock',
    },
  ]);
  // The lock is held, and looking does without.
  const look = 'XTABLES_LOCKFILE=/dev/null iptables -S FORWARD';
  expect(await firewalls.sh(look)).toBe('-P FORWARD DROP\n');
  await letGo();
  await until(
    'the door is open',
    30_000,
    async () => (await lab.network())?.doors.every(({ state }) => state === 'open') ?? false,
  );
  expect(await firewalls.sh(look)).toContain(`tapyard:${world.uid}:seed:br0`);
  await lab.down();
  expect(await firewalls.rules()).toEqual(rules);
});

const ipv6 = 'fd12:3456:789a:1::/64';

test('the old iptables of IPv6, where its table is there already', async () => {
  await start('legacy');
  await lab.hasIpv6();
  const strict =
    'ip6tables -P FORWARD DROP; ip6tables -P INPUT DROP; ip6tables -A INPUT -i lo -j ACCEPT; ip6tables -A INPUT -i eth0 -j ACCEPT; ip6tables -A INPUT -m state --state ESTABLISHED -j ACCEPT';
  await firewalls.sh(strict);
  const rules = await firewalls.rules();
  expect(rules.legacy).toContain('-P FORWARD DROP');
  const doors = async (): Promise<string[]> =>
    ((await lab.network())?.doors ?? []).map(({ chain, state }) => `${chain}: ${state}`);
  await lab.up({ ipv6 });
  const open = ['ip6tables-legacy filter FORWARD: open', 'ip6tables-legacy filter INPUT: open'];
  expect(await doors()).toEqual(open);
  // DHCPv6, too.
  expect(await firewalls.sh('ip6tables -S INPUT')).toContain(
    '-A INPUT -i br0 -p udp -m udp --dport 547 -m comment --comment "tapyard:0:seed:br0" -j ACCEPT',
  );
  guest = await lab.guest('192.168.57.50');
  await guest.getsThroughByIpv6();
  await firewalls.sh(`ip6tables -F; ${strict}`);
  await guest.getsThroughByIpv6();
  await firewalls.sh('ip6tables -I FORWARD -j REJECT; ip6tables -I INPUT -p icmpv6 -j DROP');
  await guest.getsThroughByIpv6();
  await firewalls.sh('ip6tables -D FORWARD -j REJECT; ip6tables -D INPUT -p icmpv6 -j DROP');
  // Another netd on the same directory finds them in its journal.
  await lab.restart();
  await lab.down();
  expect(await firewalls.rules()).toEqual(rules);
});

test('netd rests when the program of the old iptables fails and no network needs it', async () => {
  await start('legacy');
  await firewalls.sh(`iptables-legacy -P FORWARD DROP
    rm /usr/sbin/iptables-legacy; cp /bin/false /usr/sbin/iptables-legacy`);
  expect((await lab.up()).doors).toMatchObject([
    { state: 'shut', reason: expect.stringContaining('exit status') },
  ]);
  await lab.down();
  // User and system time, in ticks of 10 ms, of all its processes; that long it does not wait for its next try.
  const [before, after] = (
    await lab.host(`spent() {
        for pid in $(pidof tapyard-netd); do
          [ /proc/$pid/ns/net -ef /proc/self/ns/net ] || continue
          sed 's/.*) //' /proc/$pid/stat
        done | awk '{ ticks += $12 + $13 } END { print ticks }'
      }
      spent; sleep 2; spent`)
  ).split('\n');
  expect(Number(after) - Number(before)).toBeLessThan(50);
});

test('no table of the old iptables is made by looking for it', async () => {
  await start('legacy');
  await up();
  await lab.up({ ipv6 });
  await lab.down();
  expect(await firewalls.rules()).toEqual({ nft: [[], {}], legacy: [] });
});

/** The refusals that netd knows are those of this firewalld, and of native/netd/tests/survival/bus/firewalld.rs. */
async function expectAnswers(): Promise<void> {
  const name = 'org.fedoraproject.FirewallD1';
  const ask = (call: string): Promise<string> =>
    firewalls.sh(`busctl call ${name} /org/fedoraproject/FirewallD1 ${name}.zone ${call} 2>&1 || true`);
  expect(await ask('addInterface ss trusted br0')).toContain('ZONE_ALREADY_SET');
  expect(await ask('addInterface ss public br0')).toContain('ZONE_CONFLICT');
  expect(await ask('addInterface ss nowhere br0')).toContain('INVALID_ZONE');
  expect(await ask('removeInterface ss public br0')).toContain('ZONE_CONFLICT');
  expect(await ask('removeInterface ss trusted br9')).toContain('UNKNOWN_INTERFACE');
}

test('firewalld: reload, and restart', async () => {
  await start();
  await firewalls.bus();
  const getsThrough = async (): Promise<void> => {
    await guest.getsThrough();
    await lab.isReached();
  };
  await besideFirewalld({ place: firewalls, lab, up, getsThrough }, 'trusted', expectAnswers);
}, 120_000);

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
