// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Client, TableChange } from '../../electron/contract/client.ts';
import { connect } from '../../electron/contract/connect.ts';
import type { ForwardRow, GuestRow, JobRow } from '../../electron/contract/rows.ts';
import { z } from '../../electron/contract/zod.ts';
import { connectSocket } from '../../electron/core/host/socket-channel.ts';
import { type Json, kernelState, nftRules } from '../world/kernel.ts';
import { checkoutInside, until, World } from '../world/world.ts';

/*
 * kill -9 of the core at each step of what changes a lab that is up (test/world/fault-points.mjs finds the steps):
 * the file is the old or the new one, the next core shows the guest as it is, `up` makes the kernel what the file
 * says, and `down` leaves nothing.
 */

const lab = `name: seed
networks:
  br0: { subnet: 192.168.57.0/24 }
  br1: { subnet: 192.168.58.0/24 }
guests:
  web:
    image: micro
    memory: 192M
    nics: [{ network: br0, address: 192.168.57.2 }]
`;

/** A change of the lab and its way back, in the calls that the window makes too. */
interface Change {
  readonly what: string;
  readonly there: (client: Client, fileHash: string) => Promise<unknown>;
  readonly back: (client: Client, fileHash: string) => Promise<unknown>;
}

const guest = { lab: 'seed', guest: 'web' };
const listening = { address: '127.0.0.1', port: 8022, protocol: 'tcp' } as const;
const br1 = { lab: 'seed', network: 'br1' };
const br2 = { lab: 'seed', network: 'br2' };

const inPrivate: readonly Change[] = [
  {
    what: 'a bandwidth and none',
    there: ({ guest: { setShape } }) => setShape({ ...guest, nic: 0, shape: { rate: '4mbit' } }),
    back: ({ guest: { setShape } }) => setShape({ ...guest, nic: 0, shape: {} }),
  },
  {
    what: 'plugging and unplugging',
    there: ({ guest: { addNic } }, fileHash) =>
      addNic({ ...guest, nic: { network: 'br1', mac: '52:54:00:58:00:07' }, fileHash }),
    back: ({ guest: { removeNic } }, fileHash) => removeNic({ ...guest, nic: 1, fileHash }),
  },
  {
    what: 'a forward and none',
    there: ({ forward: { add } }) => add({ ...guest, forward: { ...listening, to: 22 } }),
    back: ({ forward: { remove } }) => remove({ ...guest, ...listening }),
  },
  {
    what: 'a network and none',
    there: ({ network: { create } }, fileHash) =>
      create({ ...br2, definition: { subnet: '192.168.59.0/24', mode: 'nat' }, fileHash }),
    back: ({ network: { remove } }, fileHash) => remove({ ...br2, fileHash }),
  },
  {
    what: 'another network and the old one',
    there: ({ network: { change } }, fileHash) =>
      change({ ...br1, definition: { subnet: '192.168.60.0/24', mode: 'isolated' }, fileHash }),
    back: ({ network: { change } }, fileHash) =>
      change({ ...br1, definition: { subnet: '192.168.58.0/24', mode: 'nat' }, fileHash }),
  },
];

const Links = z.array(
  z.looseObject({
    ifname: z.string(),
    mtu: z.number(),
    master: z.string().optional(),
    ifalias: z.string().optional(),
    addr_info: z.array(z.looseObject({ local: z.string(), family: z.string() })).default([]),
  }),
);
const Qdiscs = z.array(
  z.looseObject({
    dev: z.string(),
    kind: z.string(),
    options: z.looseObject({ rate: z.number().optional() }),
  }),
);
const Anchor = z.looseObject({ keeper: z.looseObject({ pid: z.number() }) });

/** By a rule, which only netd of the host scope has. */
const inHost: readonly Change[] = [
  {
    what: 'a forward by rule and none',
    there: ({ forward: { add } }) => add({ ...guest, forward: { ...listening, address: '0.0.0.0', to: 22 } }),
    back: ({ forward: { remove } }) => remove({ ...guest, ...listening, address: '0.0.0.0' }),
  },
];

describe.each([
  ['private', 'user', inPrivate],
  ['host', 'root', inHost],
] as const)('the core is killed at each step, in the %s scope', (scope, who, changes) => {
  let world: World;
  let file: string;
  let fault: string;
  let before: Awaited<ReturnType<typeof kernelState>>;
  let core: Core;
  let qemu: number | null;

  /** A core, as the window talks to it. */
  interface Core {
    readonly client: Client;
    readonly guest: () => GuestRow | undefined;
    readonly forwards: () => readonly ForwardRow[];
    readonly jobs: () => readonly JobRow[];
    readonly isOver: () => boolean;
    readonly close: () => void;
  }

  async function startCore(): Promise<Core> {
    const process = await world.serve({
      as: who,
      env: {
        NODE_OPTIONS: `--import=${checkoutInside}/test/world/fault-points.mjs`,
        TAPYARD_TEST_FAULT: fault,
      },
    });
    process.stdout?.resume();
    process.stderr?.resume();
    const socket = path.join(world.runtimeDir(who), 'tapyard/core.sock');
    const connection = await connect(await connectSocket(socket, 20_000), {
      role: 'cli',
      deadlineMs: 60_000,
    });
    const { client } = connection;
    const { tables } = client;
    const guests = rowsOf(tables.guests);
    return {
      client,
      guest: () => guests()[0],
      forwards: rowsOf(tables.forwards),
      jobs: rowsOf(tables.jobs),
      isOver: () => process.exitCode !== null || process.signalCode !== null,
      close: () => connection.close(),
    };
  }

  async function done({ job }: { job: string }): Promise<void> {
    const row = await until('the job is done', 60_000, () =>
      core.jobs().find(({ id, state }) => id === job && state !== 'running'),
    );
    expect(row).toMatchObject({ state: 'done' });
  }

  async function up(): Promise<void> {
    await done(await core.client.lab.up({ lab: 'seed', scope, waitReachable: 60_000 }));
    await until('the forwards are as the file has them', 20_000, forwardsAreSettled);
  }

  /** What is done of forwards after their call was answered, is done. */
  function forwardsAreSettled(): boolean {
    const rows = core.forwards();
    const noted = world.leftFiles(who).some((left) => /\/forwards\/[^/]+\.json$/.test(left));
    const wanted = read().includes(`${listening.port}`);
    const stands = rows.every(({ state }) => state === 'listening');
    return stands && rows.length === (wanted ? 1 : 0) && noted === rows.some(({ way }) => way === 'process');
  }

  const read = (): string => readFileSync(file, 'utf8');
  const hash = (): string => createHash('sha256').update(read()).digest('hex');

  /** Leads into the lab's network namespace. */
  function enter(): string[] {
    if (scope === 'host') return [];
    const anchor = path.join(world.runtimeDir(who), 'tapyard/labs/seed/netd/anchor.json');
    const { keeper } = Anchor.parse(JSON.parse(readFileSync(anchor, 'utf8')));
    return ['nsenter', '-t', String(keeper.pid), '-n'];
  }

  const listed = async (...command: string[]): Promise<unknown> =>
    JSON.parse(await world.must([...enter(), ...command], { as: 'root' }));

  /** What there is of the lab: its interfaces, rules, processes, ports and files. */
  async function picture(): Promise<Json> {
    const links = Links.parse(await listed('ip', '-j', '-d', 'address'));
    const qdiscs = Qdiscs.parse(await listed('tc', '-j', 'qdisc'));
    const processes = world.processes().map(({ command }) => path.basename(command.split(' ')[0] ?? ''));
    const listener = await world.must(['ss', '-Htln', `sport = :${listening.port}`], { as: 'root' });
    return {
      links: links
        .map(({ ifname, mtu, master = '', ifalias = '', addr_info: addresses }) => {
          const ipv4 = addresses.filter(({ family }) => family === 'inet').map(({ local }) => local);
          return [ifname, mtu, master, ifalias, ...ipv4].join(' ');
        })
        .toSorted(),
      qdiscs: qdiscs.map(({ dev, kind, options }) => `${dev} ${kind} ${options.rate ?? ''}`).toSorted(),
      rules: await nftRules(world, enter()),
      processes: processes.toSorted(),
      listens: listener !== '',
      // A directory of forwards stays once there was one, and what was to become a file until the next write.
      files: world.leftFiles(who).filter((left) => !/\/forwards$|\.new$/.test(left)),
    };
  }

  /** The taps of those NICs that the file has, with their bridges, as the kernel has them and as the core shows them. */
  async function taps(): Promise<{ kernel: string[]; shown: string[] }> {
    const nics = core.guest()?.nics ?? [];
    const links = Links.parse(await listed('ip', '-j', '-d', 'link', 'show', 'type', 'tun'));
    const real = links.filter(({ master }) => nics.some(({ network }) => network === master));
    const shown = nics.filter(({ tap }) => tap !== null);
    return {
      kernel: real.map(({ ifname, master }) => `${ifname} ${master}`).toSorted(),
      shown: shown.map(({ tap, network }) => `${tap} ${network}`).toSorted(),
    };
  }

  /** Kills the core at this step of a change, and answers what it was about to do; undefined where it was done before. */
  async function killedAt(at: number, way: Change['there']): Promise<string | undefined> {
    writeFileSync(fault, String(at));
    const end = await way(core.client, hash()).then(() => 'done', String);
    if (end === 'done')
      await until('all of it is done', 20_000, () => existsSync(`${fault}.point`) || forwardsAreSettled());
    rmSync(fault);
    if (end === 'done' && !existsSync(`${fault}.point`)) return undefined;
    await until(`the core is gone after ${end}`, 20_000, () => core.isOver());
    core.close();
    const point = readFileSync(`${fault}.point`, 'utf8');
    rmSync(`${fault}.point`);
    return point;
  }

  beforeAll(async () => {
    world = World.create();
    before = await kernelState(world);
    fault = path.join(world.runtimeDir(who), 'fault');
    file = world.file('lab/tapyard.yaml', lab, who);
    core = await startCore();
    await core.client.lab.open({ file });
    await up();
    qemu = core.guest()?.pid ?? null;
    expect(qemu).not.toBeNull();
  });
  afterAll(async () => {
    core?.close();
    world?.close();
  });

  test.each(changes)('of $what', { timeout: 300_000 }, async ({ what, there, back }) => {
    // Undisturbed, there and back: what is known to be right.
    const pictures: Json[] = [await picture()];
    const files = [read()];
    const ways = [there, back] as const;
    for (const way of ways) {
      await way(core.client, hash());
      await up();
      pictures.push(await picture());
      files.push(read());
    }
    expect({ picture: pictures[2], file: files[2] }).toEqual({ picture: pictures[0], file: files[0] });

    let state = 0;
    const points = [0, 0];
    const over = [false, false];
    while (!over.every(Boolean)) {
      const at = (points[state] ?? 0) + 1;
      const point = await killedAt(over[state] ? Infinity : at, ways[state] ?? there);
      if (point === undefined) over[state] = true;
      else points[state] = at;
      const now = files.indexOf(read());
      expect(now, `${point}: the file is neither the old one nor the new: ${read()}`).toBeGreaterThan(-1);
      if (point === undefined) expect(now).toBe(1 - state);
      state = now;
      if (point === undefined) continue;
      core = await startCore();
      await until(`${point}: the guest is shown`, 20_000, () => core.guest()?.pid === qemu);
      await until(`${point}: its NICs are shown as they are`, 20_000, async () => {
        const { kernel, shown } = await taps();
        return kernel.join() === shown.join();
      });
      await up();
      await expect.poll(picture, { timeout: 20_000, message: point }).toEqual(pictures[state]);
    }
    if (state === 1) await back(core.client, hash());
    expect(readdirSync(path.dirname(file))).toEqual(['tapyard.yaml']);
    console.log(`kill -9 of the core in ${what}: ${points[0]} points there, ${points[1]} back`);
    expect(Math.min(...points)).toBeGreaterThan(2);
  });

  // The same in both scopes.
  if (scope === 'private')
    test('of a guest’s start', { timeout: 300_000 }, async () => {
      const qemus = (): number[] =>
        world
          .processes()
          .filter(({ command }) => /^\S*qemu-system|\/tapyard-tap exec /.test(command))
          .map(({ pid }) => pid);
      for (let at = 1; ; at++) {
        await core.client.guest.forceOff(guest);
        await until('it is off', 20_000, () => qemus().length === 0);
        const point = await killedAt(at, ({ guest: { start } }) => start(guest));
        if (point === undefined) {
          console.log(`kill -9 of the core in a guest’s start: ${at - 1} points`);
          expect(at).toBeGreaterThan(6);
          return;
        }
        core = await startCore();
        const row = await until(`${point}: the guest is shown`, 20_000, () => core.guest());
        await expect
          .poll(qemus, { timeout: 20_000, message: point })
          .toEqual(row.pid === null ? [] : [row.pid]);
        const { kernel, shown } = await taps();
        expect(shown, point).toEqual(kernel);
      }
    });

  test('down leaves nothing', async () => {
    await done(await core.client.lab.down({ lab: 'seed', force: true }));
    core.close();
    await until('nothing but the core runs', 20_000, () => world.processes().length <= 1);
    expect(await kernelState(world)).toEqual(before);
    expect(world.leftFiles(who).filter((left) => left.includes('labs'))).toEqual([]);
  });
});

/** The rows of a table, as they are now. */
function rowsOf<Row extends { readonly id: string }>(
  table: (changed: (change: TableChange<Row>) => void) => unknown,
): () => readonly Row[] {
  let rows: readonly Row[] = [];
  table((change) => {
    if ('full' in change) rows = change.full;
    else {
      const gone = new Set([...change.del, ...change.put.map(({ id }) => id)]);
      rows = [...rows.filter(({ id }) => !gone.has(id)), ...change.put];
    }
  });
  return () => rows;
}
