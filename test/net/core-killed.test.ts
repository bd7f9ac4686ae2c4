// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { kernelState } from '../world/kernel.ts';
import { until, World, type Who } from '../world/world.ts';

/*
 * kill -9 of the core in the middle of a command, after each line that netd's journal gets meanwhile; the command
 * done again does what it does, and `down` leaves nothing.
 */

let world: World;
let before: Awaited<ReturnType<typeof kernelState>>;
beforeAll(async () => {
  world = World.create();
  before = await kernelState(world);
});
afterAll(() => world?.close());

const lab =
  'name: seed\nnetworks:\n  br0: { subnet: 192.168.57.0/24 }\n  br1: { subnet: 192.168.58.0/24, ipv6: true }\n';

/** Lines of the journals of `who`'s netds, by file; a journal that is written anew or goes is another. */
function journals(who: Who): Map<string, number> {
  const found = new Map<string, number>();
  for (const place of ['labs/seed/netd', 'netd-host']) {
    const file = `${world.runtimeDir(who)}/tapyard/${place}/journal`;
    try {
      found.set(file, readFileSync(file, 'utf8').split('\n').length - 1);
    } catch {
      // Not there, or not any more.
    }
  }
  return found;
}

/** A command that is killed with its core once the journals have so many lines more than before it. */
async function killedAfter(wanted: number, args: readonly string[], who: Who): Promise<'killed' | 'done'> {
  const start = journals(who);
  const grown = (): number => {
    const more = [...journals(who)].map(([file, lines]) => Math.max(0, lines - (start.get(file) ?? 0)));
    return more.reduce((sum, lines) => sum + lines, 0);
  };
  const command = world.start(world.tapyardCommand(args), { as: who });
  let ended = false;
  command.stdout?.resume();
  command.stderr?.resume();
  command.once('close', () => (ended = true));
  // A line is followed by the next within a millisecond: no timer is that quick.
  const deadline = Date.now() + 60_000;
  const isOver = (): boolean => ended;
  while (!isOver() && grown() < wanted) {
    if (Date.now() > deadline) throw new Error(`${args.join(' ')} does nothing`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (ended) return 'done';
  for (const { pid, command: line } of world.processes())
    if (line.includes('tapyard.mjs')) process.kill(pid, 'SIGKILL');
  await until('the core is gone', 20_000, () => ended);
  return 'killed';
}

/** Kills the core in `args` at one step after the other, until there are no more; how many there were. */
async function everyStep(
  what: string,
  args: readonly string[],
  who: Who,
  prepare: () => Promise<void>,
  after: () => Promise<void>,
): Promise<number> {
  for (let wanted = 1; ; wanted++) {
    await prepare();
    const end = await killedAfter(wanted, args, who);
    await after();
    await leaves(who);
    if (end === 'done') {
      console.log(`kill -9 of the core in ${what}: ${wanted - 1} points`);
      return wanted - 1;
    }
  }
}

async function tapyard(args: readonly string[], who: Who): Promise<string> {
  const done = await world.tapyard(args, { as: who, timeout: 60_000 });
  expect(done, `${args.join(' ')}: ${done.stderr}`).toMatchObject({ code: 0 });
  return done.stdout;
}

/** `down` at any time leaves nothing. */
async function leaves(who: Who): Promise<void> {
  await tapyard(['down', '--lab', 'seed'], who);
  await until('nothing runs', 20_000, () => world.processes().length === 0).catch(() => {
    expect(world.processes()).toEqual([]);
  });
  expect(await kernelState(world)).toEqual(before);
  expect(world.leftFiles(who).filter((left) => !/\/tapyard(\/core\.lock)?$/.test(left))).toEqual([]);
}

describe('the core is killed at each step of the journal', () => {
  const minutes = 300_000;
  const nothing = async (): Promise<void> => undefined;
  let file: string;

  afterEach(async () => {
    // A step that failed leaves no lab for the next test.
    await world.tapyard(['down', '--lab', 'seed', '--force'], { as: 'user' });
    await world.tapyard(['down', '--lab', 'seed', '--force'], { as: 'root' });
  });

  const raise =
    (scope: 'private' | 'host', who: Who): (() => Promise<void>) =>
    async () =>
      void (await tapyard(['up', file, '--scope', scope], who));

  const scopes = [
    ['private', 'user'],
    ['host', 'root'],
  ] as const;

  test.each(scopes)('of up, in the %s scope', { timeout: minutes }, async (scope, who) => {
    file = world.file('tapyard.yaml', lab, who);
    const up = ['up', file, '--scope', scope];
    expect(await everyStep(`up, ${scope}`, up, who, nothing, nothing)).toBeGreaterThan(2);
  });

  test.each(scopes)('of down, in the %s scope', { timeout: minutes }, async (scope, who) => {
    file = world.file('tapyard.yaml', lab, who);
    const down = ['down', '--lab', 'seed'];
    expect(await everyStep(`down, ${scope}`, down, who, raise(scope, who), nothing)).toBeGreaterThan(0);
  });

  test.each(scopes)('of nat, in the %s scope', { timeout: minutes }, async (scope, who) => {
    file = world.file('tapyard.yaml', lab, who);
    const off = ['nat', 'br0', 'off'];
    const again = async (): Promise<void> => {
      await tapyard(off, who);
      // The kernel is asked, not the lab file.
      expect(JSON.parse(await tapyard(['topology', '--json'], who))).toMatchObject({
        networks: [{ name: 'br0', observed: { nat: false } }, { name: 'br1' }],
      });
    };
    expect(await everyStep(`nat, ${scope}`, off, who, raise(scope, who), again)).toBeGreaterThan(0);
  });

  test('of the move into the host scope and back', { timeout: minutes }, async () => {
    file = world.file('tapyard.yaml', lab, 'root');
    let killed = 0;
    for (const [from, to] of [
      ['private', 'host'],
      ['host', 'private'],
    ] as const) {
      const again = async (): Promise<void> => {
        // Each second time nobody goes on with it: `down` ends what was to serve the lab in the other scope.
        killed += 1;
        if (killed % 2 === 0) return;
        await tapyard(['scope', to], 'root');
        const bridges = await world.must(['ip', '-br', 'link', 'show', 'type', 'bridge'], { as: 'root' });
        if (to === 'private') expect(bridges).toBe('');
      };
      const move = ['scope', to];
      expect(await everyStep(`the move to ${to}`, move, 'root', raise(from, 'root'), again)).toBeGreaterThan(
        2,
      );
    }
  });
});
