// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Json, kernelState } from '../world/kernel.ts';
import { until, World } from '../world/world.ts';

/*
 * A lab on an interface that the host has no use for, by the command: refused while the host has one, up, told when
 * somebody meddles with it, mended by the next `up`, and given back.
 */

let world: World;
beforeAll(() => {
  world = World.create();
});
afterAll(() => world?.close());

const root = { as: 'root' } as const;
const host = (script: string): Promise<string> => world.must(['sh', '-ec', script], root);

/** The kernel gives an interface its link-local address a moment after IPv6 is on. */
const isAgain = async (before: Record<string, Json>): Promise<void> => {
  await expect.poll(() => kernelState(world), { timeout: 20_000 }).toEqual(before);
};

test('a lab takes an interface that is free, and gives it back', async () => {
  await host(`ip link add spare type veth peer name cable; ip link set cable up
    sysctl -qw net.ipv6.conf.cable.disable_ipv6=1 net.ipv6.conf.spare.accept_dad=0
    ip link set spare up; ip addr add 10.77.0.1/24 dev spare
    timeout 20 sh -c 'until ip -6 addr show dev spare | grep -q fe80; do sleep 0.05; done'`);
  const file = world.file(
    'bench.yaml',
    'name: bench\nnetworks: { wire: { mode: bridged, interface: spare } }\n',
    'root',
  );
  const up = (): ReturnType<World['tapyard']> =>
    world.tapyard(['up', file, '--scope', 'host'], { ...root, timeout: 60_000 });
  const topology = async (): Promise<string> => (await world.tapyard(['topology'], root)).stdout;

  const used = await kernelState(world);
  const refused = await up();
  expect(refused.code).not.toBe(0);
  expect(refused.stderr).toMatch(/wire cannot be bridged to spare: the host has 10\.77\.0\.1\/24 on it/);
  expect(refused.stderr).toContain('INTERFACE_IN_USE');
  expect(refused.stderr).toContain('nmcli con add type bridge');
  await world.tapyard(['down', '--lab', 'bench'], root);
  await isAgain(used);

  await host('ip addr del 10.77.0.1/24 dev spare');
  const before = await kernelState(world);
  expect(await up()).toMatchObject({ code: 0 });
  expect(await host('ip -o link show spare')).toContain('master wire');
  const told = await topology();
  expect(told).toContain('bridged  the network behind spare');
  expect(told).toContain('spare ── the network behind it');

  // Somebody takes it out: said, left alone, and mended by the next `up`.
  await host('ip link set spare nomaster');
  const words = 'somebody took spare out of the bridge wire';
  await until('it is told', 20_000, async () => (await topology()).includes(words));
  expect(await host('ip -o link show spare')).not.toContain('master');
  expect(await up()).toMatchObject({ code: 0 });
  expect(await host('ip -o link show spare')).toContain('master wire');
  expect(await topology()).not.toContain(words);

  expect(await world.tapyard(['down', '--lab', 'bench'], root)).toMatchObject({ code: 0 });
  await isAgain(before);
}, 120_000);
