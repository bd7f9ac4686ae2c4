// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from '../../electron/contract/zod.ts';
import { until, World } from '../world/world.ts';

/* A lab whose file says no subnet, on a computer where others take addresses meanwhile. */

let world: World;
beforeAll(() => {
  world = World.create();
});
afterAll(() => world?.close());

const Topology = z.looseObject({
  networks: z
    .tuple([
      z.looseObject({
        wanted: z.looseObject({ subnet: z.string() }),
        observed: z.looseObject({ addresses: z.array(z.string()) }).nullable(),
        reason: z.looseObject({ code: z.string(), message: z.string() }).nullable(),
      }),
    ])
    .rest(z.never()),
});

async function network(): Promise<z.infer<typeof Topology>['networks'][0]> {
  const shown = await world.tapyard(['topology', '--json'], { as: 'root' });
  return Topology.parse(JSON.parse(shown.stdout)).networks[0];
}

const up = async (file: string): Promise<void> =>
  expect(await world.tapyard(['up', file, '--scope', 'host'], { as: 'root' })).toMatchObject({ code: 0 });
const down = async (): Promise<void> =>
  expect(await world.tapyard(['down', '--force'], { as: 'root' })).toMatchObject({ code: 0 });

test('a chosen subnet stays, moves only where somebody has it at an up, and an overlap is told', async () => {
  const file = world.file('tapyard.yaml', 'name: open\nnetworks: { br0: {} }\n', 'root');
  await up(file);
  const first = await network();
  const { subnet } = first.wanted;
  expect(first.observed?.addresses).toContain(subnet.replace('.0/24', '.1/24'));
  expect(first.reason).toBeNull();
  await down();
  await up(file);
  expect((await network()).wanted.subnet).toBe(subnet);

  // Up, it is not moved: what overlaps is named.
  const taken = subnet.replace('.0/24', '.200/25');
  const vpn = `ip link add vpn9 up type veth peer name far9; ip link set far9 up; ip addr add ${taken} dev vpn9`;
  await world.must(['sh', '-c', vpn], { as: 'root' });
  const told = await until('the overlap is told', 10_000, async () => {
    const now = await network();
    return now.reason?.code === 'SUBNET_OVERLAP' && now;
  });
  expect(told.wanted.subnet).toBe(subnet);
  expect(told.reason?.message).toContain('vpn9');

  await down();
  await up(file);
  const moved = await network();
  expect(moved.wanted.subnet).not.toBe(subnet);
  expect(moved.reason).toBeNull();
  await down();
});
