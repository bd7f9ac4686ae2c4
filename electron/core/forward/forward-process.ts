// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ErrorData, TapyardError } from '../../contract/error.ts';
import { z } from '../../contract/zod.ts';
import { endProcess, isAlive, lookUp, type ProcessId, programEnvironment } from '../host/process.ts';
import { ownProgram } from '../host/programs.ts';
import { socketPath } from '../host/runtime-dir.ts';

/** It binds a port and says so. */
const readyDeadlineMs = 10_000;
/** It tells how it stands as soon as it is asked. */
const statusDeadlineMs = 2000;
/** It has nothing to save. */
const endGraceMs = 500;

/** What a forward does: everything that its command line is made of. */
export const ForwardSpec = z.object({
  lab: z.string(),
  /** Where it listens. */
  address: z.string(),
  port: z.number(),
  /** The guest's address and port. */
  target: z.string(),
  to: z.number(),
  netdSocket: z.string(),
});
export type ForwardSpec = z.infer<typeof ForwardSpec>;

/** `NAME.json` in the lab's directory of forwards: what the next core needs to take one over. */
const StateFile = z.object({
  version: z.literal(1),
  pid: z.number().int().min(1),
  startTime: z.number(),
  spec: ForwardSpec,
});

const Ready = z.union([
  z.object({ listening: z.string() }),
  z.object({ error: z.looseObject(ErrorData.shape) }),
]);

const Status = z.object({ flows: z.number(), failure: z.looseObject(ErrorData.shape).nullable() });

/** How a forward stands, as its process says. */
export interface ForwardStatus {
  /** Connections that it carries. */
  readonly flows: number;
  /** Why the last client was turned away; null once a later one was let in. */
  readonly failure: ErrorData | null;
}

/** The name of a forward's files. */
const fileName = ({ address, port }: Pick<ForwardSpec, 'address' | 'port'>): string => `${port}-${address}`;

/** A `tapyard-tap forward` that runs. It outlives the core. */
export class ForwardProcess {
  readonly spec: ForwardSpec;
  readonly id: ProcessId;
  readonly #dir: string;
  readonly #socket: Socket;
  /** Settles when the process is over, or no longer heard. */
  readonly ended: Promise<void>;

  private constructor(dir: string, spec: ForwardSpec, id: ProcessId, socket: Socket) {
    this.#dir = dir;
    this.spec = spec;
    this.id = id;
    this.#socket = socket;
    this.ended = new Promise((resolve) => socket.once('close', () => resolve()));
  }

  /** Follows a process that listens at its socket; resolves when it has told how it stands. Throws DEADLINE. */
  static async #follow(
    dir: string,
    spec: ForwardSpec,
    id: ProcessId,
    tell: (status: ForwardStatus) => void,
  ): Promise<ForwardProcess> {
    const socket = await connectTo(watchPath(dir, spec));
    const process = new ForwardProcess(dir, spec, id, socket);
    const told = new Promise<boolean>((resolve) => {
      createInterface({ input: socket }).on('line', (line) => {
        const status = Status.safeParse(parseJson(line));
        if (!status.success) return;
        const { flows, failure } = status.data;
        tell({ flows, failure: failure && TapyardError.fromData(failure).toData() });
        resolve(true);
      });
      void process.ended.then(() => resolve(false));
      setTimeout(() => resolve(false), statusDeadlineMs).unref();
    });
    if (await told) return process;
    socket.destroy();
    throw overAtOnce(spec);
  }

  /**
   * Starts one; resolves when it listens. Throws PORT_TAKEN, PORT_DENIED, NO_SUCH_ADDRESS, NETD_MISSING, DEADLINE,
   * RUNTIME_PATH_TOO_LONG.
   */
  static async start(
    dir: string,
    spec: ForwardSpec,
    tell: (status: ForwardStatus) => void,
  ): Promise<ForwardProcess> {
    const { lab, address, port, target, to, netdSocket } = spec;
    const watch = watchPath(dir, spec);
    rmSync(watch, { force: true });
    const args = ['--netd', netdSocket, '--lab', lab, '--watch', watch];
    const child = spawn(
      ownProgram('tapyard-tap'),
      ['forward', ...args, '--listen', `${address}:${port}`, '--to', `${target}:${to}`],
      { detached: true, stdio: ['pipe', 'pipe', 'ignore'], env: programEnvironment, cwd: '/' },
    );
    // A spawn that fails has no pid, and says why by this event; the missing first line tells of it too.
    child.on('error', () => undefined);
    child.stdin.on('error', () => undefined);
    try {
      const facts = child.pid === undefined ? undefined : lookUp(child.pid);
      if (facts) writeState(dir, spec, facts);
      // It has waited for that: one that was not noted, because this core was killed, ends instead.
      child.stdin.end('\n');
      await listening(child, spec);
      if (!facts) throw overAtOnce(spec);
      const { pid, startTime } = facts;
      return await ForwardProcess.#follow(dir, spec, { pid, startTime }, tell);
    } catch (thrown) {
      child.kill('SIGKILL');
      removeFiles(dir, spec);
      throw thrown;
    } finally {
      child.unref();
    }
  }

  /** Takes over what an earlier core started and what still runs of it; what is left of others is removed. */
  static async adopt(
    dir: string,
    tell: (spec: ForwardSpec, status: ForwardStatus) => void,
  ): Promise<ForwardProcess[]> {
    const found = await Promise.all(
      statesIn(dir).map(async ({ name, state }) => {
        if (state && isAlive(state)) {
          const { spec, pid, startTime } = state;
          const id = { pid, startTime };
          try {
            return [await ForwardProcess.#follow(dir, spec, id, (status) => tell(spec, status))];
          } catch {
            // It hangs or is no forward of ours any more: nobody can be told how it stands, so it goes.
            await endProcess(id, endGraceMs);
          }
        }
        for (const ending of ['.json', '.sock']) rmSync(join(dir, `${name}${ending}`), { force: true });
        return [];
      }),
    );
    return found.flat();
  }

  /** Follows it anew after it was not heard any more; undefined where it is over or does not answer. */
  async again(tell: (status: ForwardStatus) => void): Promise<ForwardProcess | undefined> {
    if (!isAlive(this.id)) return undefined;
    return await ForwardProcess.#follow(this.#dir, this.spec, this.id, tell).catch(() => undefined);
  }

  /** Ends it with the connections that it carries. */
  async end(): Promise<void> {
    await endProcess(this.id, endGraceMs);
    this.forget();
  }

  /** Removes what a process that is over has left. */
  forget(): void {
    this.#socket.destroy();
    removeFiles(this.#dir, this.spec);
  }

  /** Lets go of it; it runs on. */
  release(): void {
    this.#socket.destroy();
  }
}

/** Throws RUNTIME_PATH_TOO_LONG. */
function watchPath(dir: string, spec: ForwardSpec): string {
  return socketPath(dir, `${fileName(spec)}.sock`);
}

function removeFiles(dir: string, spec: ForwardSpec): void {
  for (const ending of ['.json', '.sock']) rmSync(join(dir, `${fileName(spec)}${ending}`), { force: true });
}

/** At once and whole: a core that is killed after this leaves a process that the next one finds. */
function writeState(dir: string, spec: ForwardSpec, { pid, startTime }: ProcessId): void {
  const path = join(dir, `${fileName(spec)}.json`);
  writeFileSync(`${path}.new`, `${JSON.stringify({ version: 1, pid, startTime, spec })}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

function statesIn(dir: string): { name: string; state: z.infer<typeof StateFile> | undefined }[] {
  let names: string[];
  try {
    names = readdirSync(dir);
  } catch {
    return [];
  }
  return [...new Set(names.map((name) => name.replace(/\.(?:json(?:\.new)?|sock)$/, '')))].map((name) => {
    try {
      const text = readFileSync(join(dir, `${name}.json`), 'utf8');
      return { name, state: StateFile.safeParse(parseJson(text)).data };
    } catch {
      return { name, state: undefined };
    }
  });
}

async function connectTo(path: string): Promise<Socket> {
  return await new Promise((resolve, reject) => {
    const socket = connect({ path });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      // Its end is told by `close`.
      socket.on('error', () => undefined);
      resolve(socket);
    });
  });
}

/** Until the process says that it listens. Throws what it says instead. */
async function listening(child: ChildProcess, spec: ForwardSpec): Promise<void> {
  const { stdout } = child;
  if (!stdout) throw new TapyardError('INTERNAL', 'tapyard-tap has no standard output');
  const late = setTimeout(() => child.kill('SIGKILL'), readyDeadlineMs);
  let first = '';
  try {
    for await (const line of createInterface({ input: stdout })) {
      first = line;
      break;
    }
  } finally {
    clearTimeout(late);
    stdout.destroy();
  }
  const ready = Ready.safeParse(parseJson(first));
  if (!ready.success) throw overAtOnce(spec);
  if ('error' in ready.data) throw TapyardError.fromData(ready.data.error);
}

function overAtOnce({ address, port }: ForwardSpec): TapyardError {
  return new TapyardError('DEADLINE', `The forward from ${address}:${port} does not say that it listens.`, {
    hint: 'In a checkout run: npm run setup. In an installation, install the package again.',
    subject: `${address}:${port}`,
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
