// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kernelState } from '../world/kernel.ts';
import { checkout, until, World } from '../world/world.ts';

/* Moving a lab with a real guest between the scopes, as root, who needs to ask nobody; and as a user who may not. */
describe('moving a lab between the scopes', () => {
  let world: World;
  const seed = readFileSync(path.join(checkout, 'assets/labs/seed.yaml'), 'utf8');

  beforeAll(() => {
    world = World.create();
  });
  afterAll(() => world?.close());

  test('root’s lab goes onto the computer and back, with its guest, and leaves nothing where it was', async () => {
    const before = await kernelState(world);
    const as = { as: 'root', timeout: 120_000 } as const;
    const file = world.file('tapyard.yaml', seed, 'root');
    expect(await world.tapyard(['up', file], as)).toMatchObject({ code: 0 });
    expect(await kernelState(world)).toEqual(before);

    const there = await world.tapyard(['scope', 'host'], as);
    expect(there, there.stderr).toMatchObject({ code: 0, stdout: 'Lab seed is in the host scope.\n' });
    expect(await world.must(['ip', '-br', 'addr', 'show', 'br0'], as)).toContain('192.168.57.1/24');
    // The lease comes a moment before the guest has set its address.
    await until('the guest answers this computer', 20_000, async () => {
      return (await world.run(['busybox', 'ping', '-c1', '-W1', '192.168.57.2'], as)).code === 0;
    });
    expect(world.leftFiles('root').some((left) => left.includes('labs/seed/netd'))).toBe(false);
    expect((await world.tapyard(['scope', 'host'], as)).stdout).toContain('is in the host scope already');

    // A way in without a route, and one more NIC while it runs, as in the private scope.
    await until('ssh gets in', 30_000, async () => {
      const done = await world.tapyard(['ssh', 'guest', '--', 'hostname'], as);
      return done.code === 0 && done.stdout === 'guest\n';
    });
    const taps = async (): Promise<string> => world.must(['ip', '-br', 'link', 'show', 'master', 'br0'], as);
    expect(await world.tapyard(['plug', 'guest', 'br0'], as)).toMatchObject({ code: 0 });
    expect(await taps()).toMatch(/^tap0 .*\ntap1 /);
    const nics = await world.tapyard(['ssh', 'guest', '--', 'ls /sys/class/net'], as);
    expect(nics.stdout).toContain('eth1');
    expect(await world.tapyard(['unplug', 'guest', '1'], as)).toMatchObject({ code: 0 });
    expect(await taps()).toMatch(/^tap0 .*\n$/);

    // What the private scope cannot carry is told before anything is touched: the same guest runs on.
    const qemu = (): number[] =>
      world.processes().flatMap(({ pid, command }) => (command.includes('qemu-system') ? [pid] : []));
    const running = qemu();
    world.file('tapyard.yaml', seed.replace('nat: true', 'mode: routed'), 'root');
    const refused = await world.tapyard(['scope', 'private'], as);
    expect(refused).toMatchObject({ code: 1 });
    expect(refused.stderr).toContain('[MODE_NEEDS_HOST_SCOPE]');
    expect(running).toHaveLength(1);
    expect(qemu()).toEqual(running);
    world.file('tapyard.yaml', seed, 'root');

    const back = await world.tapyard(['scope', 'private'], as);
    expect(back, back.stderr).toMatchObject({ code: 0 });
    expect(await kernelState(world)).toEqual(before);
    expect((await world.tapyard(['ls'], as)).stdout).toContain('running');
    expect(await world.tapyard(['down', '--force'], as)).toMatchObject({ code: 0 });

    const down = await world.tapyard(['scope', 'host'], as);
    expect(down.stdout).toBe('Lab seed is down; from its next up on it is in the host scope.\n');
    expect(await kernelState(world)).toEqual(before);
    expect(world.processes()).toEqual([]);
  });

  test('refused, the lab and its guest stay as they are', async () => {
    const file = world.file('tapyard.yaml', seed);
    expect(await world.tapyard(['up', file], { timeout: 120_000 })).toMatchObject({ code: 0 });
    const running = (await world.tapyard(['ls'])).stdout;
    const refused = await world.tapyard(['scope', 'host']);
    expect(refused).toMatchObject({ code: 1 });
    expect(refused.stderr).toContain('[HOST_SCOPE_DENIED]');
    expect((await world.tapyard(['ls'])).stdout).toBe(running);
    expect(await world.tapyard(['down', '--force'])).toMatchObject({ code: 0 });
    expect(world.processes()).toEqual([]);
    expect(world.leftFiles().filter((left) => left.includes('netd'))).toEqual([]);
  });
});
