// SPDX-License-Identifier: Apache-2.0
import { chmodSync, chownSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { z } from '../../electron/contract/zod.ts';
import { NetdClient } from '../../electron/core/net/netd-client.ts';
import type { NetdNetworkSpec } from '../../electron/core/net/netd-protocol.ts';
import { checkout, checkoutInside, firstWords, World } from '../world/world.ts';

/*
 * What a netd with privilege does for a user is what the user could ask for now: by /etc/tapyard/netd.conf, and
 * whatever the journal in the user's own directory says.
 */

const Said = z.looseObject({ ready: z.literal(true), pid: z.number(), socket: z.string() });
type Said = z.infer<typeof Said>;

let world: World;
let program: string;
let etc: string;
// A world for each, so that one that fails takes no other along.
beforeEach(async () => {
  world = World.create();
  program = path.join(world.dir, 'installed', 'tapyard-netd');
  mkdirSync(path.dirname(program));
  cpSync(path.join(checkout, 'native/target/release/tapyard-netd'), program);
  chmodSync(program, 0o755);
  const names = 'cap_net_admin,cap_net_raw,cap_net_bind_service+ep';
  await world.must(['setcap', names, program], { as: 'root' });
  etc = path.join(world.dir, 'etc-allowing');
  mkdirSync(path.join(etc, 'tapyard'), { recursive: true });
  for (const name of ['passwd', 'group', 'resolv.conf'])
    cpSync(path.join(world.dir, 'etc', name), path.join(etc, name));
  await root('ip link add br-lan type bridge && ip link add br-any type bridge');
});
afterEach(() => world?.close());

const root = (script: string): Promise<string> => world.must(['sh', '-ec', script], { as: 'root' });

function allow(lines: string): void {
  writeFileSync(path.join(etc, 'tapyard', 'netd.conf'), lines, { mode: 0o644 });
}

function directory(name: string): string {
  const dir = path.join(world.runtimeDir('user'), name);
  mkdirSync(dir, { mode: 0o700 });
  chownSync(dir, world.uid, world.uid);
  return dir;
}

/** Starts netd where /etc is `etc`. */
async function start(dir: string): Promise<Said> {
  const become = `setpriv --reuid ${world.uid} --regid ${world.uid} --clear-groups`;
  const script = `mount --bind ${etc} /etc && exec ${become} ${program} --scope host --dir ${dir}`;
  const child = world.start(['sh', '-c', script], { as: 'root' });
  const line = await firstWords(child, 'netd');
  return Said.parse(JSON.parse(line));
}

/** Opens a tap for as long as a program takes that does nothing; what was said of it. */
async function openTap(socket: string, network: string): Promise<string> {
  const tap = `${checkoutInside}/native/target/release/tapyard-tap`;
  const words = ['--netd', socket, '--lab', 'seed', '--guest', 'db'];
  const nic = ['--tap', `3:0:${network}:52:54:00:00:00:02:tap5`];
  return (await world.run([tap, 'exec', ...words, ...nic, '--', '/bin/true'])).stderr;
}

const bridged = (name: string, uplink: string): NetdNetworkSpec => ({
  name,
  mode: 'bridged',
  uplink,
  mac: '52:54:00:00:00:01',
  mtu: 1500,
  nat: false,
  dhcp: null,
  domain: 'lab',
});

const natted = (name: string, net: string): NetdNetworkSpec => ({
  name,
  subnet: `${net}.0/24`,
  mac: '52:54:00:00:00:01',
  mtu: 1500,
  nat: true,
  dhcp: null,
  domain: 'lab',
});

test('a journal that the user wrote opens nothing that the user may not ask for', async () => {
  allow(`allow-bridge tester br-lan\n`);
  const tap = (name: string, network: string, bridge: string): string =>
    `ip tuntap add ${name} mode tap && ip link set ${name} alias tapyard:${world.uid}:seed:${network}:web/0 ${bridge}`;
  await root(`ip link add side type veth peer name sidepeer
    ip addr add 192.168.77.5/24 dev side && ip link set side up
    echo 1 > /proc/sys/net/ipv4/conf/side/forwarding
    ${tap('tap0', 'any', 'master br-any')}
    ${tap('tap1', 'lan', '')}`);
  const networks = [
    bridged('any', 'br-any'),
    bridged('lan', 'br-lan'),
    { ...natted('br8', '192.168.78'), address: '192.168.66.1' },
    { ...natted('br9', '192.168.77'), address: '192.168.77.1' },
    { ...natted('side', '192.168.79'), address: '192.168.79.1' },
  ];
  const side = Number(/^[0-9]+/.exec(await root('ip -o link show side'))?.[0]);
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  const lines = [
    { begin: { version: 1, boot } },
    { opened: { device: 'side' } },
    { opened6: { device: 'side' } },
    ...networks.map((network) => ({ network: { lab: 'seed', network } })),
    // As if it had been taken down, and found up.
    { taken: { network: 'any', found: { ifindex: side, up: false, ipv6: false, alias: 'theirs' } } },
  ];
  const dir = directory('forged');
  const journal = path.join(dir, 'journal');
  writeFileSync(journal, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  chownSync(journal, world.uid, world.uid);

  const { socket } = await start(dir);
  const client = await NetdClient.connect(socket);
  try {
    const master = async (name: string): Promise<string> =>
      /master (\S+)/.exec(await root(`ip -o link show ${name}`))?.[1] ?? 'none';
    expect(await master('tap0')).toBe('none');
    expect(await master('tap1')).toBe('br-lan');
    expect(await openTap(socket, 'any')).toContain('the lab seed has no network any');
    const links = await root('ip -o link');
    expect(links).not.toMatch(/ br[89]:/);
    expect(await root('ip -o link show side')).toMatch(/,UP/);
    expect(await root('nft list ruleset')).not.toMatch(/side|br8|br9/);
    await client.request('shutdown', {});
  } finally {
    client.close();
  }
  expect(await root('cat /proc/sys/net/ipv4/conf/side/forwarding')).toBe('1\n');
});

test('a line that was taken out of netd.conf lets no guest in any more', async () => {
  allow(`allow-bridge tester br-lan\n`);
  const { socket } = await start(directory('taken-out'));
  const client = await NetdClient.connect(socket);
  try {
    await client.request('apply_network', { lab: 'seed', network: bridged('lan', 'br-lan') });
    expect(await openTap(socket, 'lan')).toBe('');
    allow('');
    expect(await openTap(socket, 'lan')).toContain('you may not put guests on br-lan');
    await client.request('shutdown', {});
  } finally {
    client.close();
  }
});

test('an interface is for whom the same line names it, and given back without it', async () => {
  allow('allow-bridge tester spare\n');
  await root(`ip link add spare type veth peer name cable && ip link set cable up
    sysctl -qw net.ipv6.conf.spare.accept_dad=0 && ip link set spare up
    timeout 20 sh -c 'until ip -6 addr show dev spare | grep -q fe80; do sleep 0.05; done'`);
  const picture = (): Promise<string> =>
    root('ip -j link show spare; ip -j addr show spare; cat /proc/sys/net/ipv6/conf/spare/disable_ipv6');
  const before = await picture();
  const port = (name: string, device: string): NetdNetworkSpec => ({
    ...bridged(name, ''),
    uplink: null,
    interface: device,
  });
  const dir = directory('spare');
  const first = await start(dir);
  const client = await NetdClient.connect(first.socket);
  const refused = client.request('apply_network', { lab: 'seed', network: port('bench', 'cable') });
  await expect(refused).rejects.toMatchObject({ code: 'BRIDGE_NOT_ALLOWED', subject: 'cable' });
  const { network } = await client.request('apply_network', { lab: 'seed', network: port('bench', 'spare') });
  expect(network.interface).toBe('spare');
  expect(await root('ip -o link show spare')).toContain('master bench');
  process.kill(first.pid, 'SIGKILL');
  client.close();
  // The one that comes after it may not have it any more.
  allow('');
  const second = await NetdClient.connect((await start(dir)).socket);
  expect(await root('ip -o link')).not.toContain('bench');
  await expect.poll(picture, { timeout: 20_000 }).toBe(before);
  await second.request('shutdown', {});
  second.close();
});

test('addresses of the LAN are for whom a line names the uplink, and the journal takes nobody’s away', async () => {
  await root('ip addr add 192.168.1.50/24 dev eth0; ip neigh add proxy 192.168.1.195 dev eth0');
  const eth0 = Number(/^[0-9]+/.exec(await root('ip -o link show eth0'))?.[0]);
  const proxies = async (): Promise<string[]> =>
    (await root('ip neigh show proxy')).split('\n').flatMap((line) => line.split(' ', 1)[0] || []);
  const network: NetdNetworkSpec = {
    ...natted('air', ''),
    mode: 'routed',
    nat: false,
    proxy_arp: true,
    subnet: '192.168.1.192/28',
    address: '192.168.1.193',
    dhcp: { from: '192.168.1.194', to: '192.168.1.196', reservations: [] },
  };
  allow('');
  const dir = directory('air');
  const first = await start(dir);
  const client = await NetdClient.connect(first.socket);
  const refused = client.request('apply_network', { lab: 'seed', network });
  await expect(refused).rejects.toMatchObject({ code: 'BRIDGE_NOT_ALLOWED', subject: 'eth0' });
  allow('allow-bridge tester eth0\n');
  await client.request('apply_network', { lab: 'seed', network });
  expect((await proxies()).toSorted()).toEqual(['192.168.1.194', '192.168.1.195', '192.168.1.196']);
  process.kill(first.pid, 'SIGKILL');
  client.close();
  const forged = { proxied: { network: 'air', ifindex: eth0, addresses: ['192.168.1.195'] } };
  writeFileSync(path.join(dir, 'journal'), `${JSON.stringify(forged)}\n`, { flag: 'a' });
  // The one that comes after it may not have them any more.
  allow('');
  const second = await NetdClient.connect((await start(dir)).socket);
  expect(await proxies()).toEqual(['192.168.1.195']);
  const { networks } = await second.request('observe', {});
  expect(networks[0]?.proxy_arp).toMatchObject({ device: null, reason: { code: 'BRIDGE_NOT_ALLOWED' } });
  await second.request('shutdown', {});
  second.close();
  expect(await proxies()).toEqual(['192.168.1.195']);
});

test('a journal routes no part of the LAN to a bridge, and takes no proxy ARP of another user’s netd away', async () => {
  allow('');
  await root(`ip addr add 192.168.1.50/24 dev eth0
    ip link add theirs type bridge && ip link set theirs alias tapyard:4242:seed:theirs group 1952542841
    ip addr add 192.168.1.177/28 dev theirs && ip link set theirs up
    ip neigh add proxy 192.168.1.178 dev eth0 protocol 116`);
  const eth0 = Number(/^[0-9]+/.exec(await root('ip -o link show eth0'))?.[0]);
  const network = {
    ...natted('air', ''),
    mode: 'routed',
    nat: false,
    proxy_arp: true,
    subnet: '192.168.1.192/28',
    address: '192.168.1.193',
  };
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  const lines = [
    { begin: { version: 1, boot } },
    { network: { lab: 'seed', network } },
    { proxied: { network: 'air', ifindex: eth0, addresses: ['192.168.1.178'] } },
  ];
  const dir = directory('air-forged');
  const journal = path.join(dir, 'journal');
  writeFileSync(journal, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  chownSync(journal, world.uid, world.uid);
  const client = await NetdClient.connect((await start(dir)).socket);
  expect(await root('ip route get 192.168.1.194')).toContain('dev eth0');
  expect(await root('ip neigh show proxy')).toContain('192.168.1.178 dev eth0');
  await client.request('shutdown', {});
  client.close();
  expect(await root('ip neigh show proxy')).toContain('192.168.1.178 dev eth0');
});

test('a bridge that stands gets no IPv6 by the journal that is another interface’s', async () => {
  await root('ip -6 addr add fd00:77::5/64 dev eth0 nodad');
  const network: NetdNetworkSpec = { ...natted('br0', '192.168.57'), address: '192.168.57.1' };
  const dir = directory('ipv6');
  const first = await start(dir);
  const client = await NetdClient.connect(first.socket);
  await client.request('apply_network', { lab: 'seed', network });
  process.kill(first.pid, 'SIGKILL');
  client.close();
  const forged = { network: { lab: 'seed', network: { ...network, ipv6: 'fd00:77::/64' } } };
  writeFileSync(path.join(dir, 'journal'), `${JSON.stringify(forged)}\n`, { flag: 'a' });
  const second = await NetdClient.connect((await start(dir)).socket);
  expect(await root('ip -6 route show fd00:77::/64')).not.toContain('br0');
  await second.request('shutdown', {});
  second.close();
});

test('what a killed netd switched on is switched off again, for the filter says that it was netd', async () => {
  const dir = directory('killed');
  const first = await start(dir);
  const forwarding = (): Promise<string> => root('cat /proc/sys/net/ipv4/conf/eth0/forwarding');
  const before = await forwarding();
  const client = await NetdClient.connect(first.socket);
  const network = { ...natted('br0', '192.168.57'), address: '192.168.57.1' };
  await client.request('apply_network', { lab: 'seed', network });
  expect([before, await forwarding()]).toEqual(['0\n', '1\n']);
  process.kill(first.pid, 'SIGKILL');
  client.close();
  const second = await NetdClient.connect((await start(dir)).socket);
  await second.request('shutdown', {});
  second.close();
  expect(await forwarding()).toBe('0\n');
});
