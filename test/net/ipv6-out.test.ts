// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from 'vitest';
import { z } from '../../electron/contract/zod.ts';
import { br0, HostLab, onOlderHost, type OnHost, PortGuest } from '../world/host-lab.ts';
import { keeperOf } from '../world/keeper.ts';
import { firstWords, hostAddress, until, World } from '../world/world.ts';

/* IPv6 out of a lab, and why not, in both scopes: the fake internet has 2001:db8::1, and the host what it gets here. */

let world: World;
const root = { as: 'root' } as const;
const wan6 = '2001:db8::1';
const subnet6 = 'fd12:3456:789a:1';

beforeEach(async () => {
  world = World.create();
  await world.serveWan();
});
afterEach(() => world.close());

const host = (script: string): Promise<string> => world.must(['sh', '-ec', script], root);
const giveIpv6 = (): Promise<string> =>
  host(`ip addr add 2001:db8::2/64 dev eth0 nodad; ip -6 route add default via ${wan6}`);

const Topology = z.looseObject({
  lab: z.looseObject({
    uplink: z.looseObject({
      device: z.string().nullable(),
      ipv6: z.looseObject({
        device: z.string().nullable(),
        hostDevice: z.string().nullable(),
        reason: z.looseObject({ code: z.string(), message: z.string() }).nullable(),
      }),
    }),
  }),
});
async function uplink(): Promise<z.infer<typeof Topology>['lab']['uplink']> {
  const { stdout } = await world.tapyard(['topology', '--json']);
  return Topology.parse(JSON.parse(stdout)).lab.uplink;
}

/** A guest on br0 with an address of each family, in the namespace that `inside` leads to. */
async function guestIn(inside: OnHost): Promise<PortGuest> {
  const guest = await PortGuest.start(world, '192.168.57.50', inside);
  await addIpv6(guest);
  return guest;
}
async function addIpv6(guest: PortGuest): Promise<void> {
  const ipv6 = await guest.run(
    `ip addr add ${subnet6}::50/64 dev eth0 nodad && ip -6 route replace default via ${subnet6}::1`,
  );
  expect(ipv6).toMatchObject({ code: 0 });
}

/** Whether the guest learns that there is no way, instead of waiting for an answer. */
async function toldUnreachable(guest: PortGuest): Promise<boolean> {
  const { stdout } = await guest.run(`${process.execPath} -e '
    const socket = require("node:net").connect({ host: "${wan6}", port: 80, timeout: 10_000 });
    socket.on("error", (error) => console.log("told", error.code));
    socket.on("connect", () => socket.destroy()).on("timeout", () => socket.destroy());'`);
  return stdout.startsWith('told');
}

const all = { tcp: true, udp: true, ping: true };
const none = { tcp: false, udp: false, ping: false };

test('the private scope: through pasta as soon as the host has a way, and no further into the host than by IPv4', async () => {
  const file = world.file(
    'tapyard.yaml',
    `name: seed\nnetworks:\n  br0: { subnet: 192.168.57.0/24, ipv6: '${subnet6}::/64' }\n`,
  );
  // What listens on the host, by loopback and by its own addresses.
  const listening = world.start(
    [
      process.execPath,
      '-e',
      `const net = require('node:net');
       for (const [at, port] of [['::1', 7001], ['127.0.0.1', 7001]])
         net.createServer((s) => s.end('the host')).listen(port, at, () => console.log('ready'));`,
    ],
    root,
  );
  await firstWords(listening, 'the listener');
  await world.serve();
  const up = await world.tapyard(['up', file]);
  expect(up, up.stderr).toMatchObject({ code: 0 });
  const guest = await guestIn((command) => [
    'nsenter',
    '-t',
    String(keeperOf(world)),
    '-n',
    '--',
    ...command,
  ]);

  // Without a way of the host's guests are told at once, and take IPv4.
  const { ipv6 } = await uplink();
  expect(ipv6).toMatchObject({ device: null, reason: { code: 'NO_IPV6_ROUTE' } });
  expect(await guest.reaches(wan6)).toEqual(none);
  expect(await toldUnreachable(guest)).toBe(true);
  expect(await guest.reaches()).toEqual(all);

  await giveIpv6();
  await until('IPv6 leaves by pasta', 30_000, async () => (await uplink()).ipv6.device === 'up0');
  expect(await uplink()).toMatchObject({ device: 'up0', ipv6: { hostDevice: 'eth0', reason: null } });
  await until('the guest gets out', 30_000, async () => {
    const { tcp, udp, ping } = await guest.reaches(wan6);
    return tcp && udp && ping;
  });
  expect(
    (await guest.run(`printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 5 nc -w 5 ${wan6} 80`)).stdout,
  ).toContain('hello from wan1 to 2001:db8::2');
  expect(await guest.reaches()).toEqual(all);

  // Nothing leads to the host's loopback: neither pasta's own addresses nor any that could mean it.
  const meant = ['fd74:6170:7961:7264::1', 'fd74:6170:7961:7264::2', `${subnet6}::1`, '::1'];
  const answers = [...meant, '169.254.2.1', '192.168.57.1', hostAddress].map(async (address) => {
    const { stdout } = await guest.run(`timeout 3 nc -w 2 ${address} 7001`);
    expect(stdout, address).toBe('');
  });
  await Promise.all(answers);
  // Nobody outside reaches the guest.
  const into = await world.run(
    ['sh', '-c', `ip -6 route add ${subnet6}::/64 via 2001:db8::2; busybox ping -6 -c 1 -W 1 ${subnet6}::50`],
    { ...root, in: 'wan1' },
  );
  expect(into.code).not.toBe(0);

  // NAT off is off for both.
  expect(await world.tapyard(['nat', 'br0', 'off'])).toMatchObject({ code: 0 });
  expect(await guest.reaches(wan6)).toEqual(none);
  expect(await world.tapyard(['nat', 'br0', 'on'])).toMatchObject({ code: 0 });
  await until('the guest gets out again', 30_000, async () => (await guest.reaches(wan6)).tcp);

  // The host's way goes: told, and no black hole for guests.
  await host('ip -6 route del default');
  await until('the way is gone', 30_000, async () => (await uplink()).ipv6.reason?.code === 'NO_IPV6_ROUTE');
  await until('guests are told so', 30_000, () => toldUnreachable(guest));
  const down = await world.tapyard(['down']);
  expect(down, down.stderr).toMatchObject({ code: 0 });
});

test('the host scope: by the uplink; on a kernel that cannot forward it for one interface by a router for labs alone', async () => {
  await giveIpv6();
  const network = { ...br0, ipv6: `${subnet6}::/64` };
  const lab = await HostLab.start(world);
  await lab.client.request('apply_network', { lab: 'seed', network });
  const guest = await guestIn((command) => [...command]);
  expect(await guest.reaches(wan6)).toEqual(all);
  expect((await lab.client.request('observe', {})).uplink.ipv6).toMatchObject({
    device: 'eth0',
    gateway: wan6,
    forwarding: true,
    reason: null,
  });
  await lab.client.request('shutdown', {});

  const conf = '/proc/sys/net/ipv6/conf';
  const older = await HostLab.start(world, onOlderHost);
  await older.client.request('apply_network', { lab: 'seed', network });
  const { uplink: found, networks } = await older.client.request('observe', {});
  expect(found.ipv6).toMatchObject({ device: 'eth0', forwarding: true, router: true, reason: null });
  expect(networks).toMatchObject([{ filter: true, ipv6: `${subnet6}::/64` }]);
  const switches = `cat ${conf}/all/forwarding ${conf}/eth0/forwarding ${conf}/br0/forwarding`;
  expect(await host(switches)).toBe('2\n0\n1\n');
  await guest.plug();
  await addIpv6(guest);
  expect(await guest.reaches()).toEqual(all);
  expect(await guest.reaches(wan6)).toEqual(all);
  const { acts } = await older.client.request('acts', {});
  expect(acts.map(({ what }) => what).join('\n')).toContain('a router of IPv6, for labs alone');
  await older.client.request('shutdown', {});
  expect(await host(`cat ${conf}/all/forwarding`)).toBe('0\n');
});
