// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from 'vitest';
import { kernelState } from '../world/kernel.ts';
import { until, World } from '../world/world.ts';

/*
 * A lab whose guests have addresses of the LAN by proxy ARP, by the command: refused where the LAN is another or
 * somebody has one of them, up, told when the way out moves, and gone without a trace. The packets:
 * native/netd/tests/proxy.rs.
 */

let world: World;
beforeAll(async () => {
  world = World.create();
  await host('ip addr add 192.168.1.50/24 dev eth0; ip route replace default via 192.168.1.1 dev eth0');
  await lan('ip addr add 192.168.1.1/24 dev eth0');
});
afterAll(() => world?.close());

const root = { as: 'root' } as const;
const host = (script: string): Promise<string> => world.must(['sh', '-ec', script], root);
const lan = (script: string): Promise<string> => world.must(['sh', '-ec', script], { ...root, in: 'wan1' });

const file = (subnet: string): string =>
  world.file(
    'air.yaml',
    `name: air\nnetworks: { lan: { subnet: ${subnet}, mode: routed, proxyArp: true } }\n`,
    'root',
  );
const up = (subnet: string): ReturnType<World['tapyard']> =>
  world.tapyard(['up', file(subnet), '--scope', 'host'], { ...root, timeout: 60_000 });
const down = (): ReturnType<World['tapyard']> => world.tapyard(['down', '--lab', 'air'], root);
const topology = async (): Promise<string> => (await world.tapyard(['topology'], root)).stdout;

test('guests get addresses of the LAN that nobody has', async () => {
  const before = await kernelState(world);
  const elsewhere = await up('192.168.2.192/28');
  expect(elsewhere.code).not.toBe(0);
  expect(elsewhere.stderr).toMatch(/no part of the LAN of eth0 \(.*192\.168\.1\.50\/24.*SUBNET_NOT_ON_LAN/);
  await down();

  await lan('ip addr add 192.168.1.203/24 dev eth0');
  const taken = await up('192.168.1.192/28');
  expect(taken.code).not.toBe(0);
  expect(taken.stderr).toMatch(/[0-9a-f:]{17} has 192\.168\.1\.203 on eth0 \[ADDRESS_TAKEN\]/);
  await lan('ip addr del 192.168.1.203/24 dev eth0');
  await down();
  expect(await kernelState(world)).toEqual(before);

  const made = await up('192.168.1.192/28');
  expect(made, made.stderr).toMatchObject({ code: 0 });
  expect(await topology()).toContain('routed, proxy ARP on eth0  192.168.1.192/28');
  // What DHCP gives away: the second half of the subnet.
  const answered = await host('ip neigh show proxy');
  expect(answered.trim().split('\n')).toHaveLength(7);
  expect(answered).toContain('192.168.1.200 dev eth0 proxy');
  await lan('busybox arping -f -I eth0 -w 20 192.168.1.200');

  // On another LAN it stays up, says what is the matter, and is mended by itself when it is back.
  await host('ip addr del 192.168.1.50/24 dev eth0; ip route replace default via 203.0.113.1 dev eth0');
  await until('it is told', 20_000, async () =>
    (await topology()).includes('The LAN does not reach the guests of lan: 192.168.1.192/28'),
  );
  expect(await host('ip neigh show proxy')).toBe('');
  await host('ip addr add 192.168.1.50/24 dev eth0; ip route replace default via 192.168.1.1 dev eth0');
  await until('it is back', 20_000, async () => (await topology()).includes('proxy ARP on eth0'));

  expect(await down()).toMatchObject({ code: 0 });
  await expect.poll(() => kernelState(world), { timeout: 20_000 }).toEqual(before);
}, 180_000);
