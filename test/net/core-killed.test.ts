// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { kernelState } from '../world/kernel.ts';
import { until, World } from '../world/world.ts';

/* kill -9 of the core in the middle of `up`, after each line of netd's journal; then `down` leaves nothing. */

let world: World;
let before: Awaited<ReturnType<typeof kernelState>>;
beforeAll(async () => {
  world = World.create();
  before = await kernelState(world);
});
afterAll(() => world?.close());

const user = { as: 'user' } as const;

test('at each step of the journal', { timeout: 240_000 }, async () => {
  const file = world.file(
    'tapyard.yaml',
    'name: seed\nnetworks:\n  br0: { subnet: 192.168.57.0/24 }\n  br1: { subnet: 192.168.58.0/24 }\n',
  );
  const journal = `${world.runtimeDir('user')}/tapyard/labs/seed/netd/journal`;
  const lines = (): number => {
    try {
      return readFileSync(journal, 'utf8').split('\n').length - 1;
    } catch {
      return 0;
    }
  };
  let points = 0;
  for (let wanted = 1, whole = false; !whole; wanted++) {
    const up = world.start(world.tapyardCommand(['up', file]), user);
    let ended = false;
    up.once('close', () => (ended = true));
    await until('the journal grows, or up is done', 30_000, () => ended || lines() >= wanted);
    whole = ended;
    for (const { pid, command } of world.processes())
      if (command.includes('tapyard.mjs')) process.kill(pid, 'SIGKILL');
    await until('the core is gone', 10_000, () => ended);
    points += whole ? 0 : 1;
    const down = await world.tapyard(['down', '--lab', 'seed'], user);
    expect(down, down.stderr).toMatchObject({ code: 0 });
    await until('nothing runs', 10_000, () => world.processes().length === 0);
    expect(await kernelState(world)).toEqual(before);
    expect(world.leftFiles().filter((left) => !/\/tapyard(\/core\.lock)?$/.test(left))).toEqual([]);
  }
  console.log(`kill -9 of the core: ${points} points`);
  expect(points).toBeGreaterThan(2);
});
