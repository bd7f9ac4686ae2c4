// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compile } from '../world/compile.ts';
import { HostLab, PortGuest } from '../world/host-lab.ts';
import { keeperOf } from '../world/keeper.ts';
import { audible, dnsAlone, open, parseScan, type Scan, serveEverywhere } from '../world/scan.ts';
import { hostAddress, until, World } from '../world/world.ts';

/*
 * What a guest finds of the host that carries it: DHCP, DNS and ping at the gateway's addresses, and in the host
 * scope nothing at any other address of the host. A network namespace on a port of the bridge plays the guest;
 * the host has services on all addresses that would answer. The same with a real guest: test/guest/gateway-scan.test.ts.
 */

const services = [22, 80, 631, 5900, 65_535];
const subnet6 = 'fd12:3456:789a:1';

let world: World;
let guest: PortGuest;
let program: string;

beforeAll(async () => {
  world = World.create();
  const lab = await HostLab.start(world);
  await lab.up({ ipv6: `${subnet6}::/64` });
  program = compile(world, 'scan');
  await serveEverywhere(world, services);

  guest = await withIpv6(await lab.guest('192.168.57.50'));
  await until('the guest reaches its gateway', 10_000, async () => {
    return (await guest.run('busybox ping -c1 -W1 192.168.57.1')).code === 0;
  });
});
afterAll(() => world?.close());

async function withIpv6(port: PortGuest): Promise<PortGuest> {
  const given = await port.run(`ip addr add ${subnet6}::50/64 dev eth0 nodad`);
  expect(given, given.stderr).toMatchObject({ code: 0 });
  return port;
}

const scan = async (address: string, from = guest): Promise<Scan> =>
  parseScan(await from.run(`${program} ${address}`));

test('the scan itself finds what is open: from the host, every service', async () => {
  const found = open(parseScan(await world.run([program, hostAddress], { as: 'root' })));
  expect(found.tcp).toEqual(expect.arrayContaining(services));
  expect(found.udp).toEqual(expect.arrayContaining(services));
});

test('every port of the gateway is silent to a guest but 53, and ping answers', async () => {
  expect(audible(await scan('192.168.57.1'))).toEqual(dnsAlone);
  expect((await guest.run('busybox ping -c1 -W2 192.168.57.1')).code).toBe(0);
  const lease = await guest.run('busybox udhcpc -i eth0 -n -q -f -t 5 -T 1 -s /bin/true');
  expect(lease.stderr + lease.stdout).toMatch(/lease of 192\.168\.57\.\d+ obtained/);
});

test("the host's other address is no way around it", async () => {
  expect(audible(await scan(hostAddress))).toEqual({ tcp: {}, udp: {} });
});

test('nor is there more by IPv6, at the address of the network or that of the link', async () => {
  const shown = await world.must(['ip', '-6', '-br', 'addr', 'show', 'dev', 'br0', 'scope', 'link']);
  const link = /fe80:[0-9a-f:]+/.exec(shown)?.[0] ?? '';
  const [own, ofLink] = await Promise.all([scan(`${subnet6}::1`), scan(`${link}%eth0`)]);
  expect([own, ofLink].map(audible)).toEqual([dnsAlone, dnsAlone]);
});

test('the gateway of the private scope has DNS, and nothing of the host behind it', async () => {
  const other = World.create();
  try {
    await serveEverywhere(other, services);
    const subnets = `subnet: 192.168.57.0/24, ipv6: '${subnet6}::/64'`;
    const file = other.file('tapyard.yaml', `name: seed\nnetworks: { br0: { ${subnets} } }\n`);
    expect(await other.tapyard(['up', file])).toMatchObject({ code: 0 });
    const inside = ['nsenter', '-t', String(keeperOf(other)), '-n', '--'];
    const port = await PortGuest.start(other, '192.168.57.50', (command) => [...inside, ...command]);
    await withIpv6(port);
    const addresses = ['192.168.57.1', `${subnet6}::1`];
    for (const found of await Promise.all(addresses.map((address) => scan(address, port))))
      expect(audible(found)).toEqual(dnsAlone);
    expect(await other.tapyard(['down', '--force'])).toMatchObject({ code: 0 });
  } finally {
    other.close();
  }
});
