// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import type { Client, TableChange } from '../../electron/contract/client.ts';
import { connect } from '../../electron/contract/connect.ts';
import type { ForwardRow, GuestRow, JobRow, LabRow } from '../../electron/contract/rows.ts';
import { z } from '../../electron/contract/zod.ts';
import { connectSocket } from '../../electron/core/host/socket-channel.ts';
import { type Json, nftRules } from '../world/kernel.ts';
import { SerialLine } from '../world/serial-line.ts';
import { checkoutInside, until, wanAddress, type Who, World } from '../world/world.ts';

/** Where a forward of the lab listens, where it has one. */
export const forwardedPort = 8022;

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

/** Every how many points one is tried: `TAPYARD_FAULT_EVERY`, or else as many as usual. */
export const faultEvery = (usual: number): number => Number(process.env['TAPYARD_FAULT_EVERY'] ?? usual);

/** A core, as the window talks to it. */
interface Core {
  readonly client: Client;
  readonly lab: () => LabRow | undefined;
  readonly guest: () => GuestRow | undefined;
  readonly forwards: () => readonly ForwardRow[];
  readonly jobs: () => readonly JobRow[];
  readonly isOver: () => boolean;
  readonly close: () => void;
}

/** What is done to a lab that is up; resolves when all of it is done. */
export type Way = (mortal: MortalCore, fileHash: string) => Promise<unknown>;

/** The lab `seed` with one guest in a world of its own, and a core that is killed at one step after the other. */
export class MortalCore {
  readonly world = World.create();
  readonly file: string;
  readonly #who: Who;
  readonly #fault: string;
  #core: Core | undefined;

  /** The lab file has `lab`. */
  constructor(who: Who, lab: string) {
    this.#who = who;
    this.#fault = path.join(this.world.runtimeDir(who), 'fault');
    this.file = this.world.file('lab/tapyard.yaml', lab, who);
  }

  get #now(): Core {
    if (this.#core === undefined) throw new Error('no core has been started');
    return this.#core;
  }

  get client(): Client {
    return this.#now.client;
  }

  get guest(): GuestRow | undefined {
    return this.#now.guest();
  }

  get scope(): LabRow['scope'] | undefined {
    return this.#now.lab()?.scope;
  }

  /** Starts a core, the first or the next, once whoever the last one started listens or is gone. */
  async start(): Promise<void> {
    await until('no network helper starts', 20_000, () =>
      this.world.processes().every(({ command }) => {
        const [, directory] = /^\S*tapyard-netd .*--dir (\S+)$/.exec(command) ?? [];
        return directory === undefined || existsSync(path.join(directory, 'netd.sock'));
      }),
    );
    const process = await this.world.serve({
      as: this.#who,
      env: {
        NODE_OPTIONS: `--import=${checkoutInside}/test/world/fault-points.mjs`,
        TAPYARD_TEST_FAULT: this.#fault,
      },
    });
    process.stdout?.resume();
    process.stderr?.resume();
    const socket = path.join(this.world.runtimeDir(this.#who), 'tapyard/core.sock');
    const connection = await connect(await connectSocket(socket, 20_000), {
      role: 'cli',
      deadlineMs: 60_000,
    });
    const { tables } = connection.client;
    const labs = rowsOf(tables.labs);
    const guests = rowsOf(tables.guests);
    this.#core = {
      client: connection.client,
      lab: () => labs()[0],
      guest: () => guests()[0],
      forwards: rowsOf(tables.forwards),
      jobs: rowsOf(tables.jobs),
      isOver: () => process.exitCode !== null || process.signalCode !== null,
      close: () => connection.close(),
    };
  }

  /** Lets go of the core; the world goes with everything. */
  close(): void {
    this.#core?.close();
    this.world.close();
  }

  /** Waits for a job's end, which has to be a good one. */
  async done({ job }: { job: string }): Promise<void> {
    const core = this.#now;
    const row = await until('the job is done', 60_000, () => {
      if (core.isOver()) throw new Error('the core is gone');
      return core.jobs().find(({ id, state }) => id === job && state !== 'running');
    });
    expect(row).toMatchObject({ state: 'done' });
  }

  /** `up`, in the scope that the lab is in or was in last; its guests have their addresses. */
  async up(scope?: LabRow['scope']): Promise<void> {
    const { client } = this;
    const chosen = scope === undefined ? {} : { scope };
    await this.done(await client.lab.up({ lab: 'seed', waitReachable: 60_000, ...chosen }));
    await until('the forwards are as the file has them', 20_000, () => this.#forwardsAreSettled());
  }

  async down(): Promise<void> {
    await this.done(await this.client.lab.down({ lab: 'seed', force: true }));
  }

  /** What is done of forwards after their call was answered, is done. */
  #forwardsAreSettled(): boolean {
    const rows = this.#now.forwards();
    const noted = this.world.leftFiles(this.#who).some((left) => /\/forwards\/[^/]+\.json$/.test(left));
    const wanted = this.read().includes(`${forwardedPort}`);
    const isDown = this.#now.lab()?.state === 'down';
    const stands = rows.every(({ state }) => state === (isDown ? 'waiting' : 'listening'));
    const isNoted = !isDown && rows.some(({ way }) => way === 'process');
    return stands && rows.length === (wanted ? 1 : 0) && noted === isNoted;
  }

  /** The lab file. */
  read(): string {
    return readFileSync(this.file, 'utf8');
  }

  /** Its hash. */
  hash(): string {
    return createHash('sha256').update(this.read()).digest('hex');
  }

  /** Leads into the lab's network namespace. */
  #enter(): string[] {
    if (this.scope === 'host') return [];
    const anchor = path.join(this.world.runtimeDir(this.#who), 'tapyard/labs/seed/netd/anchor.json');
    const { keeper } = Anchor.parse(JSON.parse(readFileSync(anchor, 'utf8')));
    return ['nsenter', '-t', String(keeper.pid), '-n'];
  }

  async #listed(...command: string[]): Promise<unknown> {
    return JSON.parse(await this.world.must([...this.#enter(), ...command], { as: 'root' }));
  }

  /** What there is of the lab: its interfaces, rules, processes, ports and files. */
  async picture(): Promise<Json> {
    const links = Links.parse(await this.#listed('ip', '-j', '-d', 'address'));
    const qdiscs = Qdiscs.parse(await this.#listed('tc', '-j', 'qdisc'));
    const processes = this.world.processes().map(({ command }) => path.basename(command.split(' ')[0] ?? ''));
    const listener = await this.world.must(['ss', '-Htln', `sport = :${forwardedPort}`], { as: 'root' });
    return {
      links: links
        .map(({ ifname, mtu, master = '', ifalias = '', addr_info: addresses }) => {
          const ipv4 = addresses.filter(({ family }) => family === 'inet').map(({ local }) => local);
          return [ifname, mtu, master, ifalias, ...ipv4].join(' ');
        })
        .toSorted(),
      qdiscs: qdiscs.map(({ dev, kind, options }) => `${dev} ${kind} ${options.rate ?? ''}`).toSorted(),
      rules: await nftRules(this.world, this.#enter()),
      processes: processes.toSorted(),
      listens: listener !== '',
      // A directory of forwards stays once there was one, and what was to become a file until the next write.
      files: this.world.leftFiles(this.#who).filter((left) => !/\/forwards$|\.new$/.test(left)),
    };
  }

  /** The taps of those NICs that the file has, with their bridges, as the kernel has them and as the core shows them. */
  async taps(): Promise<{ kernel: string[]; shown: string[] }> {
    const nics = this.guest?.nics ?? [];
    const links = Links.parse(await this.#listed('ip', '-j', '-d', 'link', 'show', 'type', 'tun'));
    const real = links.filter(({ master }) => nics.some(({ network }) => network === master));
    const shown = nics.filter(({ tap }) => tap !== null);
    return {
      kernel: real.map(({ ifname, master }) => `${ifname} ${master}`).toSorted(),
      shown: shown.map(({ tap, network }) => `${tap} ${network}`).toSorted(),
    };
  }

  /** The QEMUs that there are, and what is about to become one. */
  qemus(): number[] {
    return this.world
      .processes()
      .filter(({ command }) => /^\S*qemu-system|\/tapyard-tap exec /.test(command))
      .map(({ pid }) => pid);
  }

  /** The guest's serial line, which needs no core. */
  get line(): SerialLine {
    const { guest } = this;
    if (guest === undefined) throw new Error('the core shows no guest');
    return new SerialLine(guest.sockets.serial, guest.serialRecord);
  }

  /**
   * Kills the core at this step of what is done, and answers what it was about to do; undefined where all was done
   * before.
   */
  async killedAt(at: number, way: Way): Promise<string | undefined> {
    const core = this.#now;
    const fault = this.#fault;
    writeFileSync(fault, String(at));
    const end = await way(this, this.hash()).then(() => 'done', String);
    if (end === 'done')
      await until(
        'all of it is done',
        20_000,
        () => existsSync(`${fault}.point`) || this.#forwardsAreSettled(),
      );
    rmSync(fault);
    if (end === 'done' && !existsSync(`${fault}.point`)) return undefined;
    await until(`the core is gone after ${end}`, 20_000, () => core.isOver());
    core.close();
    const point = readFileSync(`${fault}.point`, 'utf8');
    rmSync(`${fault}.point`);
    return point;
  }
}

/** Whether the guest of a line reaches the internet; what it says when it does not. */
export async function reachesWan(line: SerialLine, when: string): Promise<void> {
  await until(`${when}: the guest pings the internet`, 30_000, () => line.pings(wanAddress));
}

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
