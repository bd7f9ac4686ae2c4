// SPDX-License-Identifier: Apache-2.0
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { dockerRules, dockerTables } from '../world/docker-rules.ts';
import { Firewalls } from '../world/firewalls.ts';
import { HostLab, PortGuest } from '../world/host-lab.ts';
import { libvirtRules, libvirtTables } from '../world/libvirt-rules.ts';
import { until, wanAddress, World } from '../world/world.ts';

/*
 * A lab in the host scope beside what else manages bridges or filters: libvirt's own networks, Docker with its
 * nftables back end, and orders and zones that doors-firewalls.test.ts does not have. Guests get through before and
 * after each of them loads its rules again, and what is theirs is as it was when the lab is down. All share one host.
 */

let world: World;
let firewalls: Firewalls;
let lab: HostLab;
let guest: PortGuest;

const wan6 = '2001:db8::1';
const subnet6 = 'fd12:3456:789a:1';

beforeAll(async () => {
  world = World.create();
  await world.serveWan();
  firewalls = await Firewalls.start(world);
  lab = await HostLab.start(world, firewalls.inside);
  await lab.up();
  guest = await lab.guest('192.168.57.50');
  await guest.serve(8080);
  await lab.down();
});
afterAll(() => world?.close());
afterEach(async () => {
  await lab.down().catch(() => undefined);
  await firewalls.sh('nft flush ruleset; echo 0 > /proc/sys/net/ipv4/ip_forward');
});

/** The lab is up, its guest gets through and is reached from the LAN; the doors that it took. */
async function up(ipv6?: string): Promise<string[]> {
  await lab.up(ipv6 === undefined ? {} : { ipv6 });
  await guest.plug();
  await lab.letIn('192.168.57.50');
  await getsThrough();
  return lab.openDoors();
}

async function getsThrough(): Promise<void> {
  await guest.getsThrough();
  await lab.isReached();
}

/** Loads rules as their owner does when it starts: all of its tables anew, in one transaction. */
async function load(tables: readonly string[], rules: string): Promise<void> {
  world.file(
    'rules.nft',
    `${tables.map((table) => `table ${table}; delete table ${table};`).join('\n')}\n${rules}`,
    'root',
  );
  await firewalls.sh(`nft -f ${world.home('root')}/rules.nft`);
}

test('Docker 29 with its nftables back end: its drops are for its own bridges, and it starts again', async () => {
  await load(dockerTables, dockerRules());
  const rules = await firewalls.rules();
  expect(await up()).toEqual([]);
  await load(dockerTables, dockerRules());
  await getsThrough();
  await lab.down();
  expect(await firewalls.rules()).toEqual(rules);
});

test('Docker 29 with its nftables back end, in which somebody drops what it does not know', async () => {
  await firewalls.sh(`ip link add docker0 type bridge; ip addr add 172.17.0.1/24 dev docker0; ip link set docker0 up
    echo 1 > /proc/sys/net/ipv4/ip_forward`);
  const container = await lab.guest('172.17.0.60', 'docker0');
  await load(dockerTables, dockerRules('drop'));
  const rules = await firewalls.rules();
  const out = { tcp: true, udp: true, ping: true };
  expect(await container.reaches()).toEqual(out);
  expect(await up()).toEqual(['nftables: ip docker-bridges filter-FORWARD']);
  await load(dockerTables, dockerRules('drop'));
  await getsThrough();
  // The accepts in Docker's chain lead to none of its containers, and a container to no guest.
  expect(Object.values(await guest.reaches('172.17.0.60'))).not.toContain(true);
  expect(Object.values(await container.reaches('192.168.57.50'))).not.toContain(true);
  expect(await container.reaches()).toEqual(out);
  await lab.down();
  expect(await firewalls.rules()).toEqual(rules);
  await firewalls.sh('ip link del docker0');
});

test('Docker 29 with its nftables back end, and the FORWARD that an earlier one left in iptables', async () => {
  await firewalls.sh(`iptables -N DOCKER-USER; iptables -A DOCKER-USER -j RETURN
    iptables -A FORWARD -j DOCKER-USER; iptables -P FORWARD DROP`);
  await load(dockerTables, dockerRules());
  const rules = await firewalls.rules();
  expect(await up()).toEqual(['docker: ip filter DOCKER-USER']);
  await load(dockerTables, dockerRules());
  await getsThrough();
  await lab.down();
  expect(await firewalls.rules()).toEqual(rules);
});

test('libvirt’s networks in nftables: what it rejects is for its own bridge, and it makes them again', async () => {
  await firewalls.sh(
    'ip link add virbr0 type bridge; ip addr add 192.168.122.1/24 dev virbr0; ip link set virbr0 up',
  );
  await load(libvirtTables, libvirtRules('virbr0', '192.168.122.0/24'));
  const rules = await firewalls.rules();
  expect(await up()).toEqual([]);
  await load(libvirtTables, libvirtRules('virbr0', '192.168.122.0/24'));
  await getsThrough();
  await lab.down();
  expect(await firewalls.rules()).toEqual(rules);
  await firewalls.sh('ip link del virbr0');
});

test('libvirt itself: guests of both get out, whichever network is started, ended and started again', async () => {
  const stop = await firewalls.libvirt();
  const virsh = (command: string): Promise<string> =>
    firewalls.sh(`virsh -q -c network:///system ${command}`);
  world.file(
    'rival.xml',
    `<network><name>rival</name><bridge name='virbr7' stp='off' delay='0'/><forward mode='nat'/>
     <ip address='192.168.58.1' netmask='255.255.255.0'/></network>`,
    'root',
  );
  await virsh(`net-define ${world.home('root')}/rival.xml`);
  await virsh('net-start rival');
  const theirs = await PortGuest.start(world, '192.168.58.60', (command) => [...command], 'virbr7');
  const out = { tcp: true, udp: true, ping: true };
  const theirsGetOut = (): Promise<boolean> =>
    until('libvirt’s guest gets out', 30_000, async () =>
      Object.values(await theirs.reaches()).every(Boolean),
    );
  await theirsGetOut();
  const rules = await firewalls.rules();
  expect(await up()).toEqual([]);
  await theirsGetOut();
  // Neither lets the other's guests in.
  expect(Object.values(await theirs.reaches('192.168.57.50'))).not.toContain(true);
  await virsh('net-destroy rival');
  await getsThrough();
  await virsh('net-start rival');
  await theirs.plug();
  await getsThrough();
  await theirsGetOut();
  await lab.down();
  expect(await theirs.reaches()).toEqual(out);
  expect(await firewalls.rules()).toEqual(rules);
  await virsh('net-destroy rival; virsh -q -c network:///system net-undefine rival');
  await stop();
});

test('firewalld with libvirt’s zone: the bridge is in that one, before and after a reload', async () => {
  // As libvirt's packages bring it (src/network/libvirt.zone).
  await firewalls.sh(`mkdir -p /etc/firewalld/zones; cat > /etc/firewalld/zones/libvirt.xml <<'END'
<?xml version="1.0" encoding="utf-8"?>
<zone target="ACCEPT">
  <short>libvirt</short>
  <rule priority='32767'><reject/></rule>
  <service name='dhcp'/><service name='dhcpv6'/><service name='dns'/><service name='ssh'/><service name='tftp'/>
  <protocol value='icmp'/><protocol value='ipv6-icmp'/>
</zone>
END`);
  const stopBus = await firewalls.bus();
  const stop = await firewalls.firewalld();
  const rules = await firewalls.rules();
  const zones = await firewalls.sh('firewall-cmd --list-all-zones');
  expect(await up()).toEqual(['firewalld: zone libvirt']);
  const zone = (): Promise<string> => firewalls.sh('firewall-cmd --zone=libvirt --list-interfaces');
  expect(await zone()).toBe('br0\n');
  await firewalls.sh('firewall-cmd --reload');
  await getsThrough();
  expect(await zone()).toBe('br0\n');
  await lab.down();
  expect(await firewalls.sh('firewall-cmd --list-all-zones')).toBe(zones);
  expect(await firewalls.rulesWithoutIdle('libvirt')).toEqual(rules);
  await firewalls.sh('firewall-cmd --reload');
  expect(await firewalls.rules()).toEqual(rules);
  await stop();
  await stopBus();
});

test('ufw and IPv6: out, names and neighbours, before and after a reload', async () => {
  await lab.host(`ip addr replace 2001:db8::2/64 dev eth0 nodad
    ip -6 route replace default via ${wan6} dev eth0`);
  await firewalls.sh('ufw default deny incoming; ufw default deny routed; ufw --force enable; ufw reload');
  const rules = await firewalls.rules();
  expect(await up(`${subnet6}::/64`)).toEqual([
    'ufw: ip filter FORWARD',
    'ufw: ip filter INPUT',
    'ufw: ip6 filter FORWARD',
    'ufw: ip6 filter INPUT',
  ]);
  await guest.run(
    `ip addr add ${subnet6}::50/64 dev eth0 nodad; ip -6 route replace default via ${subnet6}::1`,
  );
  const getsThrough6 = (): Promise<boolean> =>
    until('the guest gets out by IPv6', 30_000, async () => {
      const named = await guest.run(`busybox timeout 3 busybox nslookup -type=a wan.test ${subnet6}::1`);
      return named.stdout.includes(wanAddress) && Object.values(await guest.reaches(wan6)).every(Boolean);
    });
  await getsThrough6();
  await firewalls.sh('ufw reload');
  await getsThrough6();
  await getsThrough();
  await lab.down();
  expect(await firewalls.rules()).toEqual(rules);
  await firewalls.sh('ufw disable');
});

test('Docker that is started while the lab is up, and stopped again', async () => {
  expect(await up()).toEqual([]);
  const stop = await firewalls.docker();
  expect(await firewalls.sh('iptables -S FORWARD')).toContain('-P FORWARD DROP');
  await getsThrough();
  // In its own chain, and in FORWARD too where that dropped before Docker had made its own.
  expect(await lab.openDoors()).not.toEqual([]);
  await stop();
  await getsThrough();
  await lab.down();
  expect(await firewalls.sh('nft list ruleset; ip -d link')).not.toContain('tapyard');
});
