// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ActRow } from '../../electron/contract/act.ts';
import { z } from '../../electron/contract/zod.ts';
import { GuestShell } from '../world/guest-shell.ts';
import { checkout, until, World } from '../world/world.ts';

/* A NIC that is held to a bandwidth: from the lab file before the guest is there, then by the command; delay and loss. */

const seed = readFileSync(path.join(checkout, 'assets/labs/seed.yaml'), 'utf8');
const lab = seed.replace('address: 192.168.57.2', 'address: 192.168.57.2, shape: { rate: 4mbit }');

let world: World;
let file: string;
beforeAll(async () => {
  world = World.create();
  file = world.file('tapyard.yaml', lab);
  expect(lab).not.toBe(seed);
  const up = await world.tapyard(['up', file], { timeout: 90_000 });
  expect(up, up.stderr).toMatchObject({ code: 0 });
});
afterAll(async () => {
  await world?.tapyard(['down', '--force']);
  world?.close();
});

async function tapyard(...words: string[]): Promise<string> {
  const done = await world.tapyard(words);
  expect(done, done.stderr).toMatchObject({ code: 0 });
  return done.stdout;
}

const Qdiscs = z.array(
  z.looseObject({
    dev: z.string(),
    kind: z.string(),
    options: z.looseObject({ rate: z.number().optional() }),
  }),
);

/** What holds traffic in the lab's namespace, as its kernel has it: interface, kind, bits per second. */
async function disciplines(): Promise<string[]> {
  const inside = world.processes().find(({ command }) => /(^|\/)dnsmasq /.test(command));
  if (inside === undefined) throw new Error('no dnsmasq, whose namespace is the lab’s');
  const listing = ['nsenter', '-t', String(inside.pid), '-n', 'tc', '-j', 'qdisc'];
  return Qdiscs.parse(JSON.parse(await world.must(listing, { as: 'root' })))
    .filter(({ kind }) => ['tbf', 'netem', 'ingress'].includes(kind))
    .map(({ dev, kind, options: { rate } }) => `${dev} ${kind}${rate === undefined ? '' : ` ${rate * 8}`}`)
    .toSorted();
}

const heldTo = (rate: number): string[] => [`ifb-tap0 tbf ${rate}`, 'tap0 ingress', `tap0 tbf ${rate}`];

async function pings(): Promise<boolean> {
  const shell = await GuestShell.open(world, 'guest');
  try {
    return await shell.pings('192.168.57.1');
  } finally {
    await shell.close();
  }
}

test('the lab file’s shape is there from the start, and the command changes both', async () => {
  expect(await disciplines()).toEqual(heldTo(4_000_000));
  expect(await pings()).toBe(true);
  expect(await tapyard('shape', 'guest')).toBe('eth0 of guest is held to 4mbit.\n');
  expect(await tapyard('topology')).toContain('  4mbit\n');

  // What netd did are the recipe's own commands.
  const recipe = await tapyard('recipe', '--shell');
  const acts = z.array(ActRow).parse(JSON.parse(await tapyard('log', '--json')));
  const commands = acts.flatMap(({ command }) => command?.split('\n') ?? []);
  const ours = commands.filter((line) => /^tc |ifb-tap0/.test(line));
  expect(ours).toHaveLength(8);
  for (const line of ours) expect(recipe).toContain(line);

  expect(await tapyard('shape', 'guest', '0', '--rate', '8mbit')).toBe('eth0 of guest is held to 8mbit.\n');
  expect(await disciplines()).toEqual(heldTo(8_000_000));
  expect(readFileSync(file, 'utf8')).toBe(lab.replace('4mbit', '8mbit'));
  expect(await pings()).toBe(true);

  // By hand in the file, then up: no start is needed.
  await tapyard('shape', 'guest', 'off');
  expect(await disciplines()).toEqual([]);
  expect(readFileSync(file, 'utf8')).toBe(seed);
  expect(await tapyard('shape', 'guest', '--json')).toContain('"shape": {}');
  world.file('tapyard.yaml', lab);
  await tapyard('up', file);
  expect(await disciplines()).toEqual(heldTo(4_000_000));
});

test('without netem delay and loss are refused, and all is as before', async () => {
  const before = readFileSync(file, 'utf8');
  const now = await disciplines();
  const done = await world.tapyard(['shape', 'guest', '--delay', '20ms', '--loss', '1%']);
  if (done.code === 0) {
    // A kernel that has it.
    expect(await disciplines()).toEqual(['ifb-tap0 netem', 'tap0 ingress', 'tap0 netem']);
  } else {
    expect(done.stderr).toContain('this kernel has no netem (sch_netem)');
    expect(done.stderr).toContain('NETEM_MISSING');
    expect(done.stderr).toContain('modprobe sch_netem');
    expect(await disciplines()).toEqual(now);
    expect(readFileSync(file, 'utf8')).toBe(before);
  }
  for (const [words, said] of [
    [['--rate', '10'], '--rate 10 is not a rate such as'],
    [['--jitter', '5ms'], '--jitter: a jitter is of a delay, and there is none.'],
    [['off', '--rate', '1mbit'], 'off and --rate exclude each other.'],
    [['eth0'], 'eth0 is no NIC'],
  ] as const) {
    const wrong = await world.tapyard(['shape', 'guest', ...words]);
    expect([wrong.code === 0, wrong.stderr]).toEqual([false, expect.stringContaining(said)]);
  }
  expect((await world.tapyard(['shape', 'guest', '7', '--rate', '1mbit'])).stderr).toContain(
    'The guest guest has no NIC eth7.',
  );
});

test('a guest that is off gets it with its next start, and nothing is left when it ends', async () => {
  await tapyard('shape', 'guest', '--rate', '2mbit');
  await tapyard('force-off', 'guest');
  await until('what shaped its tap is gone', 20_000, async () => (await disciplines()).length === 0);
  expect(await tapyard('shape', 'guest', '--rate', '3mbit')).toBe(
    'eth0 of guest is held to 3mbit from its next start on.\n',
  );
  await tapyard('start', 'guest');
  expect(await disciplines()).toEqual(heldTo(3_000_000));
});
