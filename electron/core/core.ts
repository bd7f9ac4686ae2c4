// SPDX-License-Identifier: Apache-2.0
import { rm } from 'node:fs/promises';
import { hostname, userInfo } from 'node:os';
import { resolve } from 'node:path';
import type { AbortLike } from '../contract/client.ts';
import type { ActRow } from '../contract/act.ts';
import { TapyardError } from '../contract/error.ts';
import type {
  ForwardRow,
  GuestRow,
  HostRow,
  LabRow,
  LinkRow,
  NetworkRow,
  StepRow,
} from '../contract/rows.ts';
import type { Server } from '../contract/server.ts';
import { runChecks } from './check/checks.ts';
import { byPkexec, mendCheck } from './check/mend.ts';
import { qemuVersion } from './check/qemu.ts';
import { accelerator } from './guest/accelerator.ts';
import { guestDirs } from './guest/spec.ts';
import { Gauge } from './host/gauge.ts';
import { Jobs } from './host/jobs.ts';
import { tapyardVersion } from './host/programs.ts';
import { Table } from './host/table.ts';
import { listImages } from './image/list.ts';
import { Lab } from './lab/lab.ts';
import { invalidFile, loadLabFile } from './lab/lab-file.ts';
import { LocalEngine } from './lab/local-engine.ts';
import { type KnownLab, readStore, writeStore } from './lab/store.ts';
import { type Rate, RateMeter } from './net/rates.ts';

/**
 * Does a brief command in this process, through a connection to `server`. What is not brief, or not of this
 * build, is refused with nothing done. The core knows no command: its host does.
 */
export type CommandRun = (
  server: Server,
  input: { readonly build: string; readonly words: readonly string[]; readonly cwd: string },
  signal: AbortLike,
) => Promise<{ status: number; out: string; err: string }>;

/** What the host of a core gives to it. */
export interface CoreOptions {
  /** Without it the core does no commands. */
  readonly command?: CommandRun;
  /** Called when somebody asks the core to end (`core.quit`); the host then closes it. */
  readonly quit?: () => void;
}

/** A core: what the contract serves, and its end. */
export interface Core {
  readonly server: Server;
  /** Stops running jobs (which undo what they began) and lets go; guests and networks run on. */
  close(): Promise<void>;
}

/**
 * Starts a core: reads the list of labs and takes over what runs of them. Throws RUNTIME_DIR_UNSAFE,
 * RUNTIME_DIR_MISSING.
 */
export async function createCore(options: CoreOptions = {}): Promise<Core> {
  const core = new LocalCore(options);
  await core.open();
  return core;
}

class LocalCore implements Core {
  readonly #options: CoreOptions;
  readonly #labs = new Map<string, Lab>();
  readonly #jobs = new Jobs();
  readonly #meters = new Map<string, RateMeter>();
  readonly #host = new Table<HostRow>();
  readonly #closing = new AbortController();
  #describing: Promise<void> | undefined;
  readonly #tables = {
    labs: new Table<LabRow>(),
    networks: new Table<NetworkRow>(),
    links: new Table<LinkRow>(),
    guests: new Table<GuestRow>(),
    forwards: new Table<ForwardRow>(),
    steps: new Table<StepRow>(),
    acts: new Table<ActRow>(),
  };
  /** Labs are opened one after the other, so that two windows do not open one twice. */
  #opening: Promise<unknown> = Promise.resolve();
  #storing: Promise<void> = Promise.resolve();
  #storeError: TapyardError | undefined;
  readonly server: Server = this.#serve();

  constructor(options: CoreOptions) {
    this.#options = options;
  }

  async open(): Promise<void> {
    const { labs, error } = readStore();
    this.#storeError = error;
    await Promise.all(labs.map((known) => this.#openKnown(known)));
    // A move that came to nothing is over by now.
    if (labs.some(({ movesTo }) => movesTo !== undefined)) await this.#store();
    this.#host.put({
      id: 'host',
      hostname: hostname(),
      user: userName(),
      qemuVersion: null,
      accelerator: null,
      tapyardVersion: tapyardVersion(),
    });
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#jobs.cancelAll();
    await this.#describing;
    await this.#opening.catch(() => undefined);
    await Promise.all([...this.#labs.values()].map((lab) => lab.close()));
    await this.#storing;
  }

  /**
   * The row of the host, completed when somebody looks: asking QEMU for its version and probing KVM takes up
   * to seconds, and a command that is over by then would leave their processes behind.
   */
  #hostTable(): Server['tables']['host'] {
    const host = this.#host;
    return {
      epoch: host.epoch,
      get rev() {
        return host.rev;
      },
      rows: () => host.rows(),
      subscribe: (listener) => {
        this.#describing ??= this.#describeHost();
        return host.subscribe(listener);
      },
    };
  }

  async #describeHost(): Promise<void> {
    const version = qemuVersion(this.#closing.signal);
    const choice = await accelerator().catch(() => null);
    const row = this.#host.get('host');
    if (!row) return;
    const use = choice === null ? null : { use: choice.use, why: choice.why };
    this.#host.put({ ...row, qemuVersion: await version, accelerator: use });
  }

  async #openKnown(known: KnownLab, loaded?: Awaited<ReturnType<typeof loadLabFile>>): Promise<Lab> {
    const lab = await Lab.open(
      {
        ...known,
        tables: this.#tables,
        engine: (scope, acts) => new LocalEngine(known.name, scope, acts),
        scopeChanged: () => this.#store(),
      },
      loaded,
    );
    this.#labs.set(known.name, lab);
    return lab;
  }

  /** Never rejects: what went wrong is told to the next who asks. */
  #store(): Promise<void> {
    const labs = [...this.#labs.values()].map(({ name, file, scope, movesTo }) => {
      return movesTo === undefined ? { name, file, scope } : { name, file, scope, movesTo };
    });
    this.#storing = this.#storing
      .then(() => writeStore(labs))
      .catch((thrown: unknown) => {
        this.#storeError = TapyardError.from(thrown);
      });
    return this.#storing;
  }

  /** Throws NO_SUCH_LAB. */
  #lab(name: string): Lab {
    const lab = this.#labs.get(name);
    if (lab) return lab;
    throw new TapyardError('NO_SUCH_LAB', `There is no lab "${name}".`, {
      hint: 'Open its file: tapyard up FILE.',
      subject: name,
    });
  }

  async #openFile(path: string): Promise<{ lab: string }> {
    const file = resolve(path);
    const loaded = await loadLabFile(file);
    const { definition, problems } = loaded.reading;
    if (!definition) throw invalidFile(file, problems);
    const { name } = definition;
    const known = this.#labs.get(name);
    if (known?.file === file) {
      await known.reload();
      return { lab: name };
    }
    if (known && (known.busy || !known.isDown))
      throw new TapyardError('LAB_NAME_TAKEN', `A lab "${name}" is up already, from ${known.file}.`, {
        hint: 'Bring it down first, or give this lab another name in its file.',
        subject: name,
      });
    // The list says where a lab was last; one that is down may have moved, or lost its name to this file.
    await known?.close();
    for (const lab of this.#labs.values())
      if (lab.file === file && lab.isDown && !lab.busy) {
        await lab.close();
        this.#labs.delete(lab.name);
      }
    await this.#openKnown({ name, file, scope: known?.scope ?? 'private' }, loaded);
    // Before anything is made for it: whoever comes after a core that was killed has to know of the lab.
    await this.#store();
    return { lab: name };
  }

  async #forget(name: string): Promise<void> {
    const lab = this.#lab(name);
    if (lab.busy || !lab.isDown)
      throw new TapyardError('LAB_BUSY', `The lab ${name} is not down.`, {
        hint: 'Bring it down first: tapyard down.',
        subject: name,
      });
    this.#labs.delete(name);
    await lab.close();
    await this.#store();
  }

  #one<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#opening.catch(() => undefined).then(work);
    this.#opening = result;
    return result;
  }

  #serve(): Server {
    const guest = ({ lab, guest: name }: { lab: string; guest: string }): ReturnType<Lab['guest']> =>
      this.#lab(lab).guest(name);
    return {
      lab: {
        open: ({ file }) => this.#one(() => this.#openFile(file)),
        forget: async ({ lab }) => {
          await this.#one(() => this.#forget(lab));
          return {};
        },
        up: async ({ lab: name, scope, waitReachable }) => {
          const lab = this.#lab(name);
          await lab.beforeUp(scope);
          return { job: this.#jobs.start('lab.up', { lab: name }, (job) => lab.up(job, waitReachable)) };
        },
        move: async ({ lab: name, scope, waitReachable }) => {
          const lab = this.#lab(name);
          await lab.beforeMove(scope);
          return {
            job: this.#jobs.start('lab.move', { lab: name }, (job) => lab.move(job, scope, waitReachable)),
          };
        },
        down: async ({ lab: name, force }) => {
          const lab = this.#lab(name);
          lab.beforeDown();
          return { job: this.#jobs.start('lab.down', { lab: name }, (job) => lab.down(job, force)) };
        },
      },
      guest: {
        start: async ({ lab, guest: name }, { signal }) => {
          await this.#lab(lab).startGuest(name, { signal });
          return {};
        },
        shutdown: async (input) => {
          await guest(input).shutdown();
          return {};
        },
        forceOff: async (input) => {
          await guest(input).forceOff();
          return {};
        },
        pause: async (input) => {
          await guest(input).pause();
          return {};
        },
        resume: async (input) => {
          await guest(input).resume();
          return {};
        },
        reset: async (input) => {
          await guest(input).reset();
          return {};
        },
        setLink: async ({ nic, up, ...input }) => ({ changed: await guest(input).setLink(nic, up) }),
        setShape: ({ lab, guest: name, nic, shape }) => this.#lab(lab).setShape(name, nic, shape),
        create: async ({ lab: name, guest: guestName, definition, start, fileHash }, { signal }) => {
          const lab = this.#lab(name);
          await lab.createGuest(guestName, definition, fileHash);
          if (start && !lab.isDown) await lab.startGuest(guestName, { signal });
          return {};
        },
        remove: async ({ lab: name, guest: guestName, fileHash }) => {
          const dirs = guestDirs(name, guestName);
          await this.#lab(name).removeGuest(guestName, fileHash, async () => {
            for (const path of [dirs.data, dirs.state]) await rm(path, { recursive: true, force: true });
          });
          return {};
        },
        addNic: async ({ lab, guest: name, nic, fileHash }) => {
          return { nic: await this.#lab(lab).addNic(name, nic, fileHash) };
        },
        removeNic: async ({ lab, guest: name, nic, fileHash }) => {
          await this.#lab(lab).removeNic(name, nic, fileHash);
          return {};
        },
      },
      network: {
        subnets: async ({ lab }) => this.#lab(lab).subnets(),
        create: async ({ lab, network, definition, fileHash }) => {
          await this.#lab(lab).createNetwork(network, definition, fileHash);
          return {};
        },
        change: async ({ lab, network, definition, fileHash }) => {
          await this.#lab(lab).changeNetwork(network, definition, fileHash);
          return {};
        },
        remove: async ({ lab, network, fileHash }) => {
          await this.#lab(lab).removeNetwork(network, fileHash);
          return {};
        },
        setNat: ({ lab, network, nat }) => this.#lab(lab).setNat(network, nat),
      },
      forward: {
        add: async ({ lab, guest: name, forward }) => {
          await this.#lab(lab).addForward(name, forward);
          return {};
        },
        remove: async ({ lab, guest: name, address, port, protocol }) => {
          await this.#lab(lab).removeForward(name, { address, port, protocol });
          return {};
        },
      },
      recipe: {
        script: async ({ lab }) => ({ script: await this.#lab(lab).script() }),
      },
      check: {
        run: async () => ({ results: [...this.#storeResult(), ...(await runChecks())] }),
        mend: async ({ check }) => ({
          job:
            this.#jobs.running('check.mend') ??
            this.#jobs.start('check.mend', { check }, (job) => mendCheck(check, job, byPkexec)),
        }),
      },
      image: {
        list: async () => ({ images: await listImages() }),
      },
      job: {
        cancel: async ({ job }) => {
          this.#jobs.cancel(job);
          return {};
        },
      },
      command: {
        run: async (input, { signal }) => {
          const { command } = this.#options;
          if (command) return command(this.server, input, signal);
          throw new TapyardError('USAGE', 'This core does no commands.');
        },
      },
      core: {
        quit: async () => {
          // The answer goes out before the connection does.
          setImmediate(() => this.#options.quit?.());
          return {};
        },
      },
      tables: { host: this.#hostTable(), jobs: this.#jobs.table, ...this.#tables },
      gauges: {
        rates: new Gauge(
          () => this.#rates(),
          (one: Rate, other) => one.down === other.down && one.up === other.up,
        ),
        flows: new Gauge(() => this.#flows()),
        tails: new Gauge(() => this.#tails()),
        cpu: new Gauge(() => this.#cpu()),
      },
      consoles: {
        serial: ({ lab, guest: name, from, tail }, sink) =>
          guest({ lab, guest: name }).serial.open({ from, tail }, sink),
        screen: (input, sink) => guest(input).openScreen(sink),
      },
    };
  }

  #storeResult(): Awaited<ReturnType<typeof runChecks>> {
    if (!this.#storeError) return [];
    const { message, hint } = this.#storeError;
    return [
      {
        id: 'labs',
        title: 'The list of your labs',
        state: 'warning',
        found: message,
        fixes: hint === undefined ? [] : [{ text: hint }],
      },
    ];
  }

  /** The labs whose network is observed now. */
  #observed(): Lab[] {
    return [...this.#labs.values()].filter((lab) => !lab.isDown && lab.engine.picture !== null);
  }

  async #rates(): Promise<ReadonlyMap<string, Rate>> {
    const rates = new Map<string, Rate>();
    // A lab whose netd has just gone keeps no other lab's rates back.
    await Promise.allSettled(
      this.#observed().map(async (lab) => {
        const { links } = await lab.engine.counters();
        const { picture } = lab.engine;
        const meter = this.#meters.get(lab.name) ?? new RateMeter();
        this.#meters.set(lab.name, meter);
        const uplink = [...(picture?.links.values() ?? [])].find(
          (link) => link.name === picture?.uplink.device,
        );
        for (const [ifindex, rate] of meter.measure(links, performance.now(), uplink?.ifindex))
          rates.set(`${lab.name}/${ifindex}`, rate);
      }),
    );
    return rates;
  }

  async #flows(): Promise<ReadonlyMap<string, number>> {
    const flows = new Map<string, number>();
    await Promise.allSettled(
      this.#observed().map(async (lab) => flows.set(lab.name, (await lab.engine.counters()).flows)),
    );
    return flows;
  }

  async #tails(): Promise<ReadonlyMap<string, string>> {
    const guests = [...this.#labs.values()].flatMap((lab) => [...lab.guests.values()]);
    const running = guests.filter((guest) => guest.status.pid !== null);
    return new Map(
      await Promise.all(running.map(async (guest) => [guest.id, await guest.serial.lastLine()] as const)),
    );
  }

  #cpu(): ReadonlyMap<string, number> {
    const values = new Map<string, number>();
    for (const lab of this.#labs.values())
      for (const guest of lab.guests.values()) {
        const percent = guest.cpu();
        if (percent !== null) values.set(guest.id, Math.round(percent * 10) / 10);
      }
    return values;
  }
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    // A uid without a name (containers, the tests' user).
    return String(process.getuid?.() ?? '');
  }
}
