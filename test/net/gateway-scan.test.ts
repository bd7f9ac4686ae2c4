// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from '../../electron/contract/zod.ts';
import { HostLab, type PortGuest } from '../world/host-lab.ts';
import { checkoutInside, firstWords, until, World } from '../world/world.ts';

/*
 * What a guest finds of the host that carries it (host scope): DHCP, DNS and ping at the gateway's address, and
 * nothing at any other address of the host. A network namespace on a port of the bridge plays the guest; the
 * host has services on all addresses that would answer.
 */

const services = [22, 80, 631, 5900, 65_535];

let world: World;
let guest: PortGuest;

beforeAll(async () => {
  world = World.create();
  const lab = await HostLab.start(world);
  await lab.up();

  const listen = `const dgram = require('node:dgram'), net = require('node:net');
    for (const port of ${JSON.stringify(services)}) {
      net.createServer((socket) => socket.on('error', () => {}).end('hello')).listen(port);
      const udp = dgram.createSocket('udp4'); udp.on('message', (_, from) => udp.send('hello', from.port, from.address)); udp.bind(port);
    }
    console.log('listening');`;
  const server = world.start([process.execPath, '-e', listen], { as: 'root' });
  await firstWords(server, 'the services');

  guest = await lab.guest('192.168.57.50');
  await until('the guest reaches its gateway', 10_000, async () => {
    return (await guest.run('busybox ping -c1 -W1 192.168.57.1')).code === 0;
  });
});
afterAll(() => world?.close());

const Scan = z.strictObject({ tcp: z.record(z.string(), z.string()), udp: z.array(z.number()) });

async function scan(address: string): Promise<z.infer<typeof Scan>> {
  const done = await guest.run(`${process.execPath} ${checkoutInside}/test/world/scan.mjs ${address}`);
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
  expect((await guest.run('busybox ping -c1 -W2 192.168.57.1')).code).toBe(0);
  const lease = await guest.run('busybox udhcpc -i eth0 -n -q -f -t 5 -T 1 -s /bin/true');
  expect(lease.stderr + lease.stdout).toMatch(/lease of 192\.168\.57\.\d+ obtained/);
});

test("the host's other address is no way around it", async () => {
  const found = await scan('203.0.113.2');
  for (const port of services) {
    expect(found.tcp[port], `tcp ${port}`).toBeUndefined();
    expect(found.udp, `udp ${port}`).not.toContain(port);
  }
});
