// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from 'vitest';
import { kernelState } from '../world/kernel.ts';
import { World } from '../world/world.ts';

/*
 * Two labs in the host scope share one netd. The last one's `down` sends it away, which must not meet the
 * first `up` of the other.
 */

let world: World;
let before: Awaited<ReturnType<typeof kernelState>>;
beforeAll(async () => {
  world = World.create();
  before = await kernelState(world);
});
afterAll(() => world?.close());

const root = { as: 'root' } as const;
const file = (lab: string, bridge: string, net: number): string =>
  world.file(
    `${lab}.yaml`,
    `name: ${lab}\nnetworks:\n  ${bridge}: { subnet: 192.168.${net}.0/24 }\n`,
    'root',
  );

test('a down and the other lab’s up at the same time', async () => {
  const one = file('one', 'br1', 61);
  const two = file('two', 'br2', 62);
  // One core for all of it, as a window would be.
  const serve = await world.serve(root);
  for (let round = 0; round < 6; round++) {
    expect(await world.tapyard(['up', one, '--scope', 'host'], root)).toMatchObject({ code: 0 });
    const down = world.tapyard(['down', '--lab', 'one'], root);
    await new Promise((resolve) => setTimeout(resolve, round * 12));
    const up = await world.tapyard(['up', two, '--scope', 'host'], root);
    expect(up, up.stderr).toMatchObject({ code: 0 });
    expect(await down, `round ${round}`).toMatchObject({ code: 0 });
    const links = await world.must(['ip', '-br', 'link'], root);
    expect(links).toContain('br2');
    expect(links).not.toContain('br1');
    const end = await world.tapyard(['down', '--lab', 'two'], root);
    expect(end, end.stderr).toMatchObject({ code: 0 });
    expect(await kernelState(world)).toEqual(before);
  }
  serve.kill('SIGTERM');
});

test('a second lab that fails to come up leaves the first as it is, and later nothing', async () => {
  const one = file('one', 'br1', 61);
  // The second network overlaps the other lab's, which only netd sees.
  const bad = world.file(
    'bad.yaml',
    'name: bad\nnetworks:\n  br3: { subnet: 192.168.63.0/24 }\n  br4: { subnet: 192.168.61.0/24 }\n',
    'root',
  );
  expect(await world.tapyard(['up', one, '--scope', 'host'], root)).toMatchObject({ code: 0 });
  const up = await world.tapyard(['up', bad, '--scope', 'host'], root);
  expect(up.code).toBe(1);
  expect(up.stderr).toContain('192.168.61.0/24');
  const links = await world.must(['ip', '-br', 'link'], root);
  expect(links).toContain('br1');
  expect(links).not.toContain('br3');
  expect(await world.tapyard(['down', '--lab', 'one'], root)).toMatchObject({ code: 0 });
  expect(await kernelState(world)).toEqual(before);
  expect(world.processes().filter(({ command }) => command.includes('netd'))).toEqual([]);
});
