// SPDX-License-Identifier: Apache-2.0
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from '../../electron/contract/zod.ts';
import { NetdClient } from '../../electron/core/net/netd-client.ts';
import { checkoutInside, until, World } from '../world/world.ts';

/*
 * What a guest finds of the host that carries it (host scope): DHCP, DNS and ping at the gateway's address, and
 * nothing at any other address of the host. A network namespace on a port of the bridge plays the guest; the
 * host has services on all addresses that would answer.
 */

const netd = path.join(checkoutInside, 'native/target/release/tapyard-netd');
const services = [22, 80, 631, 5900, 65_535];

let world: World;
let guest: (command: string) => Promise<{ code: number | null; stdout: string; stderr: string }>;

beforeAll(async () => {
  world = World.create();
  const dir = `${world.runtimeDir('root')}/netd`;
  const child = world.start(['sh', '-c', `mkdir -m 700 ${dir} && exec ${netd} --scope host --dir ${dir}`], {
    as: 'root',
  });
  await new Promise((resolve, reject) => {
    child.stdout?.once('data', resolve);
    child.once('close', () => reject(new Error('netd did not start')));
  });
  const network = {
    name: 'br0',
    subnet: '192.168.57.0/24',
    address: '192.168.57.1',
    mac: '52:54:00:00:00:01',
    mtu: 1500,
    nat: true,
    dhcp: { from: '192.168.57.128', to: '192.168.57.254', reservations: [] },
    domain: 'lab' as const,
  };
  const client = await NetdClient.connect(`${dir}/netd.sock`);
  await client.request('apply_network', { lab: 'seed', network });
  client.close();

  const listen = `const dgram = require('node:dgram'), net = require('node:net');
    for (const port of ${JSON.stringify(services)}) {
      net.createServer((socket) => socket.on('error', () => {}).end('hello')).listen(port);
      const udp = dgram.createSocket('udp4'); udp.on('message', (_, from) => udp.send('hello', from.port, from.address)); udp.bind(port);
    }
    console.log('listening');`;
  const server = world.start([process.execPath, '-e', listen], { as: 'root' });
  await new Promise((resolve) => server.stdout?.once('data', resolve));

  const sleeper = world.start(['unshare', '-n', 'sh', '-c', 'echo $$; exec sleep 300'], { as: 'root' });
  const pid = await new Promise<number>((resolve) =>
    sleeper.stdout?.setEncoding('utf8').once('data', (text: string) => resolve(Number(text))),
  );
  await world.must(
    [
      'sh',
      '-ec',
      `ip link add port0 type veth peer name eth0 netns ${pid}
       ip link set port0 master br0 up
       nsenter -t ${pid} -n sh -ec 'ip link set lo up; ip link set eth0 up; ip addr add 192.168.57.50/24 dev eth0; ip route add default via 192.168.57.1'`,
    ],
    { as: 'root' },
  );
  guest = (command) => world.run(['nsenter', '-t', String(pid), '-n', 'sh', '-c', command], { as: 'root' });
  await until('the guest reaches its gateway', 10_000, async () => {
    return (await guest('busybox ping -c1 -W1 192.168.57.1')).code === 0;
  });
});
afterAll(() => world?.close());

const Scan = z.strictObject({ tcp: z.record(z.string(), z.string()), udp: z.array(z.number()) });

async function scan(address: string): Promise<z.infer<typeof Scan>> {
  const done = await guest(`${process.execPath} ${checkoutInside}/test/world/scan.mjs ${address}`);
  expect(done, done.stderr).toMatchObject({ code: 0 });
  return Scan.parse(JSON.parse(done.stdout));
}

test('the scan itself finds what is open: from the host, every service', async () => {
  const here = await world.must([process.execPath, `${checkoutInside}/test/world/scan.mjs`, '203.0.113.2']);
  const found = Scan.parse(JSON.parse(here));
  for (const port of services) {
    expect(found.tcp[port], `tcp ${port}`).toBe('open');
    expect(found.udp, `udp ${port}`).toContain(port);
  }
});

test('every port of the gateway is silent to a guest but 53, and ping answers', async () => {
  expect(await scan('192.168.57.1')).toEqual({ tcp: { 53: 'open' }, udp: [53] });
  expect((await guest('busybox ping -c1 -W2 192.168.57.1')).code).toBe(0);
  const lease = await guest('busybox udhcpc -i eth0 -n -q -f -t 5 -T 1 -s /bin/true');
  expect(lease.stderr + lease.stdout).toMatch(/lease of 192\.168\.57\.\d+ obtained/);
});

test("the host's other address is no way around it", async () => {
  const found = await scan('203.0.113.2');
  for (const port of services) {
    expect(found.tcp[port], `tcp ${port}`).toBeUndefined();
    expect(found.udp, `udp ${port}`).not.toContain(port);
  }
});
