// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { z } from '../../electron/contract/zod.ts';
import { GuestShell } from '../world/guest-shell.ts';
import { keeperOf } from '../world/keeper.ts';
import { kernelState } from '../world/kernel.ts';
import { type ListedGuest, listGuests, theRunningGuest } from '../world/listed.ts';
import { checkout, finish, until, wanAddress, type Who, World } from '../world/world.ts';

const seed = readFileSync(path.join(checkout, 'assets/labs/seed.yaml'), 'utf8');

let world: World;
let before: Awaited<ReturnType<typeof kernelState>>;
let file: string;

const list = (): Promise<ListedGuest[]> => listGuests(world);
const leftFiles = (who: Who = 'user'): string[] =>
  world.leftFiles(who).filter((left) => !/\/tapyard(\/core\.lock)?$/.test(left));

const Links = z.array(
  z.looseObject({
    ifname: z.string(),
    linkinfo: z
      .looseObject({ info_data: z.looseObject({ persist: z.boolean().optional() }).optional() })
      .optional(),
  }),
);

/** The links in the lab's own network namespace, as the kernel has them. */
async function labLinks(): Promise<z.infer<typeof Links>> {
  const command = ['nsenter', '-t', String(keeperOf(world)), '-n', 'ip', '-j', '-d', 'link'];
  return Links.parse(JSON.parse(await world.must(command, { as: 'root' })));
}

/** `tapyard serve`, which hosts the core until it is killed. */
async function hostCore(): Promise<{
  pid: number;
  kill: (signal: NodeJS.Signals) => void;
  gone: Promise<void>;
}> {
  const serve = await world.serve();
  const core = world.processes().find(({ command }) => command.includes('tapyard.mjs serve'));
  if (core === undefined) throw new Error('serve is not among the processes');
  return {
    pid: core.pid,
    kill: (signal) => process.kill(core.pid, signal),
    gone: new Promise((resolve) => serve.once('close', () => resolve())),
  };
}

beforeAll(async () => {
  world = World.create();
  before = await kernelState(world);
  file = world.file('tapyard.yaml', seed);
});
afterAll(() => world?.close());

describe('while the lab is up', () => {
  beforeEach(async () => {
    const up = await world.tapyard(['up', file], { timeout: 90_000 });
    expect(up, up.stderr).toMatchObject({ code: 0 });
  });
  afterEach(async () => {
    const down = await world.tapyard(['down', '--force']);
    expect(down, down.stderr).toMatchObject({ code: 0 });
    // A test that failed may have left these two; they are not the lab's.
    for (const { pid, command } of world.processes()) {
      if (/tapyard\.mjs (serve|console)/.test(command)) process.kill(pid, 'SIGKILL');
    }
    await until('nothing is left', 3000, () => world.processes().length === 0).catch(() => {
      expect(world.processes()).toEqual([]);
    });
    expect(leftFiles()).toEqual([]);
    expect(await kernelState(world)).toEqual(before);
  });

  test('kill -9 of QEMU: the tap is gone from the kernel, and the guest is crashed within 1 s', async () => {
    const core = await hostCore();
    const guest = await theRunningGuest(world);
    const tap = (await labLinks()).find(({ ifname }) => ifname === 'tap0');
    expect(tap?.linkinfo?.info_data?.persist).toBe(false);
    process.kill(guest.pid, 'SIGKILL');
    const killed = Date.now();
    await new Promise((resolve) => setTimeout(resolve, 500)); // the look itself takes some hundred ms
    const [crashed] = await list();
    expect({ state: crashed?.state, within: Date.now() - killed < 2000 }).toEqual({
      state: 'crashed',
      within: true,
    });
    await until('the tap is gone', 10_000, async () => {
      const names = (await labLinks()).map(({ ifname }) => ifname);
      expect(names).toContain('br0');
      return !names.includes('tap0');
    });

    // It can be started again: its NIC is free.
    expect(await world.tapyard(['start', 'guest'])).toMatchObject({ code: 0 });
    const shell = await GuestShell.open(world, 'guest');
    await until('it has its address again', 10_000, () => shell.pings('192.168.57.1'));
    await shell.close();
    core.kill('SIGTERM');
    await core.gone;
  });

  test('kill -9 of the core: guests run on, and the next core shows them with their scrollback', async () => {
    const core = await hostCore();
    const shell = await GuestShell.open(world, 'guest');
    expect((await shell.run('echo before-the-core-died')).code).toBe(0);
    await shell.run('(sleep 2; echo while-"nobody"-looked > /dev/ttyS0) & true');
    const [guest] = await list();
    core.kill('SIGKILL');
    await core.gone;
    expect(existsSync(`/proc/${guest?.pid}`)).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 4000));

    const [again] = await list();
    expect(again).toMatchObject({ name: 'guest', state: 'running', pid: guest?.pid });
    const next = await GuestShell.open(world, 'guest', 'user', 30_000, ['--history']);
    for (const words of [/\nbefore-the-core-died/, /while-nobody-looked/]) {
      const found = next.text.match(new RegExp(words, 'g')) ?? [];
      expect({ words: String(words), times: found.length }).toEqual({ words: String(words), times: 1 });
    }
    expect(await next.pings(wanAddress)).toBe(true);
    await next.close();
    await shell.close().catch(() => undefined);
  });

  test('up again changes nothing, and says so', async () => {
    const [guest] = await list();
    expect(await world.tapyard(['up', file])).toMatchObject({ code: 0 });
    expect((await list())[0]).toMatchObject({ pid: guest?.pid, state: 'running' });
  });

  test('shutdown asks the guest, force-off does not', async () => {
    expect(await world.tapyard(['shutdown', 'guest'])).toMatchObject({ code: 0 });
    expect((await list())[0]).toMatchObject({ state: 'shut off', pid: null });
    expect(await world.tapyard(['start', 'guest'])).toMatchObject({ code: 0 });
    expect(await world.tapyard(['force-off', 'guest'])).toMatchObject({ code: 0 });
    expect((await list())[0]).toMatchObject({ state: 'shut off', pid: null });
    // Twice is the same as once.
    expect(await world.tapyard(['shutdown', 'guest'])).toMatchObject({ code: 0 });
  });
});

describe('Ctrl+C in the middle of up', () => {
  test('as soon as its core listens leaves nothing', async () => {
    const up = world.start(world.tapyardCommand(['up', file]));
    const ended = finish(up, 'up', { timeout: 30_000 });
    const end = performance.now() + 20_000;
    while (!existsSync(`${world.runtimeDir('user')}/tapyard/core.sock`) && performance.now() < end)
      await new Promise((resolve) => setImmediate(resolve));
    for (const { pid, command } of world.processes())
      if (command.includes('tapyard.mjs up')) process.kill(pid, 'SIGINT');
    await ended;
    await until('nothing is left', 5000, () => world.processes().length === 0);
    expect(leftFiles()).toEqual([]);
  });

  for (const after of [0, 40, 80, 160, 320, 640, 1500]) {
    test(`after ${after} ms leaves nothing`, async () => {
      const up = world.start(world.tapyardCommand(['up', file]));
      const ended = finish(up, 'up', { timeout: 30_000 });
      // Count from the moment that node runs, not from our spawn.
      await until('up runs', 5000, () =>
        world.processes().some(({ command }) => command.includes('tapyard.mjs up')),
      );
      await new Promise((resolve) => setTimeout(resolve, after));
      for (const { pid, command } of world.processes())
        if (command.includes('tapyard.mjs up')) process.kill(pid, 'SIGINT');
      const done = await ended;
      expect([130, null]).toContain(done.code);
      await until('nothing is left', 5000, () => world.processes().length === 0).catch(() => {
        expect(world.processes()).toEqual([]);
      });
      expect(await kernelState(world)).toEqual(before);
      expect(leftFiles()).toEqual([]);
    });
  }

  for (const [when, reached] of [
    ['soon after it began', undefined],
    ['as soon as the bridge is on the host', 'br0'],
    ['as soon as the tap is on the host', 'tap0'],
  ] as const) {
    test(`in the host scope, ${when}, leaves the host as it was`, async () => {
      const hostFile = world.file('tapyard.yaml', seed, 'root');
      const up = world.start(world.tapyardCommand(['up', hostFile, '--scope', 'host']), { as: 'root' });
      const ended = finish(up, 'up', { timeout: 60_000 });
      const runs = (): number | undefined =>
        world.processes().find(({ command }) => command.includes('tapyard.mjs up'))?.pid;
      const pid = await until('up runs', 20_000, runs);
      if (reached !== undefined)
        await until(`${reached} is there`, 30_000, async () => {
          const { code } = await world.run(['ip', 'link', 'show', reached], { as: 'root' });
          return code === 0;
        });
      process.kill(pid, 'SIGINT');
      const done = await ended;
      expect([130, null], done.stderr).toContain(done.code);
      await until('nothing is left', 20_000, () => world.processes().length === 0).catch(() => {
        expect(world.processes()).toEqual([]);
      });
      expect(await kernelState(world)).toEqual(before);
      expect(leftFiles('root')).toEqual([]);
    });
  }
});
