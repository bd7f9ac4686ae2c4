// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process';
import { open, rmdir, stat, unlink, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Channel, Connection } from '../../contract/client.ts';
import { connect } from '../../contract/connect.ts';
import { serveChannel } from '../../contract/dispatch.ts';
import { TapyardError } from '../../contract/error.ts';
import type { Audience } from '../../contract/leaf.ts';
import { memoryChannelPair } from '../../contract/memory-channel.ts';
import type { Server } from '../../contract/server.ts';
import type { Role } from '../../contract/wire.ts';
import { errnoOf } from './atomic-write.ts';
import { listenOn } from './core-socket.ts';
import { programEnvironment } from './process.ts';
import { findProgram } from './programs.ts';
import { runtimeDir, socketPath } from './runtime-dir.ts';
import { connectSocket, type PausableChannel } from './socket-channel.ts';

/** A core that runs in this process. */
export interface RunningCore {
  readonly server: Server;
  close(): Promise<void>;
}

/** This process hosts the user's core: it holds the lock and listens on `core.sock`. */
export interface Host {
  readonly kind: 'host';
  readonly server: Server;
  /**
   * Resolves when nothing that others have begun here would be lost by its end: no job runs, no call waits for its
   * answer, no other command is not done; after `deadlineMs` in any case. From then on until the next turn of the
   * event loop that stays so.
   */
  settled(deadlineMs: number): Promise<void>;
  /** Ends the core in this process: socket first, lock last. Guests and netd run on. */
  close(): Promise<void>;
}

/** Another process hosts it; `channel` leads there. */
export interface Member {
  readonly kind: 'client';
  readonly channel: PausableChannel;
}

export interface ElectionOptions {
  /** Makes the core when this process is to host it. */
  start: () => Promise<RunningCore>;
  /** How long to look for a core or the lock, ms. */
  deadlineMs: number;
}

/** Where the core listens. Throws what `runtimeDir` and `socketPath` throw. */
export const coreSocketPath = (): string => socketPath(runtimeDir(), 'core.sock');

const connectDeadline = 2000;
const retryEvery = 50;
const lockDeadline = 5000;
const settleEvery = 20;

/**
 * Finds the one core of this user or becomes it. A process that is neither (somebody else holds the lock and
 * does not listen yet, or is just ending) is tried again until the deadline.
 * @throws TapyardError CORE_UNREACHABLE, or what `start` throws
 */
export async function joinCore(options: ElectionOptions): Promise<Host | Member> {
  const path = coreSocketPath();
  const end = Date.now() + options.deadlineMs;
  for (;;) {
    const channel = await connectSocket(path, connectDeadline).catch(() => undefined);
    if (channel !== undefined) return { kind: 'client', channel };
    const lockPath = socketPath(runtimeDir(), 'core.lock');
    const lock = await tryLock(lockPath);
    if (lock !== undefined) return host({ path, lock, lockPath }, options.start);
    if (Date.now() >= end) throw unreachable();
    await sleep(retryEvery);
  }
}

async function host(
  { path, lock, lockPath }: { path: string; lock: FileHandle; lockPath: string },
  start: () => Promise<RunningCore>,
): Promise<Host> {
  let core: RunningCore | undefined;
  try {
    core = await start();
    const running = core;
    const socket = await listenOn(path, running.server);
    let closing: Promise<void> | undefined;
    const close = async (): Promise<void> => {
      await socket.close();
      await running.close();
      await unlock(lock, lockPath);
    };
    const busy = (): boolean =>
      closing === undefined &&
      (socket.waitedFor() || running.server.tables.jobs.rows().some((job) => job.state === 'running'));
    const settled = async (deadlineMs: number): Promise<void> => {
      const end = Date.now() + deadlineMs;
      while (busy() && Date.now() < end) await sleep(settleEvery);
    };
    return { kind: 'host', server: running.server, settled, close: () => (closing ??= close()) };
  } catch (thrown) {
    await core?.close();
    await unlock(lock, lockPath);
    throw thrown;
  }
}

/**
 * Takes the lock on the file `path`, without waiting; undefined when another process has it. The lock is held
 * until the handle is closed or this process ends, however it ends.
 *
 * Node has no flock(2), so flock(1) takes it on a descriptor that it inherits. The lock belongs to the open
 * file description and not to the process that asked for it (flock(2)): flock(1) exits and the lock stays
 * with us. Node opens files with O_CLOEXEC, so no other child of ours can keep it alive.
 * @throws TapyardError CORE_UNREACHABLE where flock(1) cannot be run
 */
export async function tryLock(path: string): Promise<FileHandle | undefined> {
  const file = await open(path, 'a', 0o600).catch((thrown: unknown) => {
    // Its directory went with the last core, between our making it and now.
    if (errnoOf(thrown) === 'ENOENT') return undefined;
    throw thrown;
  });
  if (file === undefined) return undefined;
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      const child = spawn(findProgram('flock') ?? 'flock', ['-n', '3'], {
        env: programEnvironment,
        stdio: ['ignore', 'ignore', 'ignore', file.fd],
        timeout: lockDeadline,
      });
      child.once('error', reject);
      child.once('exit', resolve);
    });
    if (code === 0 && (await isAt(file, path))) return file;
    if (code !== 0 && code !== 1) throw new Error(`flock ended with ${code ?? 'a signal'}`);
  } catch (cause) {
    await file.close();
    throw new TapyardError(
      'CORE_UNREACHABLE',
      `Tapyard cannot make sure that it runs only once: ${cause instanceof Error ? cause.message : String(cause)}.`,
      { hint: 'The program flock is needed: install util-linux.', subject: path, cause },
    );
  }
  await file.close();
  return undefined;
}

/** Whether `path` still names this file: who ends removes the lock's file, and a lock on a removed one is none. */
async function isAt(file: FileHandle, path: string): Promise<boolean> {
  const [own, there] = [await file.stat(), await stat(path).catch(() => undefined)];
  return own.ino === there?.ino && own.dev === there.dev;
}

/** Lets the lock go and leaves nothing behind: its file, and the runtime directory when that is empty. */
export async function unlock(file: FileHandle, path: string): Promise<void> {
  await unlink(path).catch(() => undefined);
  await rmdir(dirname(path)).catch(() => undefined);
  await file.close();
}

function unreachable(): TapyardError {
  return new TapyardError(
    'CORE_UNREACHABLE',
    'Another Tapyard of yours is starting or ending and does not answer.',
    {
      hint: 'Try again in a moment. If it stays so, look for a `tapyard` or Tapyard window that hangs, and end it: guests keep running.',
      subject: coreSocketPath(),
    },
  );
}

/** A channel to a host in this process, as its own window, command or browser uses it. */
export function localChannel(server: Server, audience: Audience): Channel {
  const [client, core] = memoryChannelPair();
  serveChannel(core, server, { audience });
  return client;
}

const helloDeadline = 5000;
/** How long a command that hosts the core stays for what others have begun in it. */
const settleDeadline = 60_000;
/** How long it does so without a word. */
const settleSilence = 1000;

/** How a command finds its core. */
export interface CommandOptions extends ElectionOptions {
  readonly role: Role;
  /** It goes on until its user ends it: nobody waits for it, and it begins again where the core goes. */
  readonly lasting?: boolean;
  /** It has no more need of the core, and stays for others. Not called where that takes a moment only. */
  readonly onStay?: () => void;
}

/**
 * Runs `run` with a connection to the user's core: to the one that is running, or to one that is hosted here
 * for as long as that takes, and for as long as others' commands in it do. A lasting `run` is called again, with
 * a new connection, where another process hosted the core and ends.
 * @throws TapyardError what `joinCore` and `connect` throw, and what `run` does
 */
export async function withCore<Result>(
  options: CommandOptions,
  run: (connection: Connection, hosted: boolean) => Promise<Result>,
): Promise<Result> {
  let hosted: Host | undefined;
  const release = endOnSignal(async () => hosted?.close());
  try {
    for (;;) {
      const reached = await reach(options);
      const { connection } = reached;
      hosted = reached.hosted;
      let gone = false;
      // Any other end is a fault of the connection, which the next one would have too.
      void connection.closed.then(({ code }) => (gone = code === 'CORE_UNREACHABLE'));
      try {
        return await run(connection, hosted !== undefined);
      } catch (thrown) {
        if (options.lasting !== true || hosted !== undefined || !gone) throw thrown;
      } finally {
        const telling = setTimeout(() => options.onStay?.(), settleSilence);
        await hosted?.settled(settleDeadline);
        clearTimeout(telling);
        connection.close();
      }
    }
  } finally {
    await hosted?.close();
    release();
  }
}

/** A connection to the core; `hosted` where it is in this process, and then the caller's to close. */
async function reach(options: CommandOptions): Promise<{ connection: Connection; hosted: Host | undefined }> {
  const { role, lasting = false } = options;
  const end = Date.now() + options.deadlineMs;
  for (;;) {
    const core = await joinCore({ ...options, deadlineMs: end - Date.now() });
    const hosted = core.kind === 'host' ? core : undefined;
    const channel = core.kind === 'host' ? localChannel(core.server, 'user') : core.channel;
    try {
      return { connection: await connect(channel, { role, lasting, deadlineMs: helloDeadline }), hosted };
    } catch (thrown) {
      await hosted?.close();
      // It ended before it had said hello, so nothing was asked of it: the next one may be there.
      const ended = thrown instanceof TapyardError && thrown.code === 'CORE_UNREACHABLE';
      if (!ended || hosted !== undefined || Date.now() >= end) throw thrown;
      await sleep(retryEvery);
    }
  }
}

/**
 * Until it is taken back: a signal that nobody else listens for ends this process as it would have, but `close` is
 * done first. A second one does not wait for that.
 */
function endOnSignal(close: () => Promise<void>): () => void {
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const release = (): void => names.forEach((name) => process.off(name, end));
  let ending = false;
  const end = (name: NodeJS.Signals): void => {
    // Whoever listens has its own way to end: `up` undoes what was done.
    if (process.listenerCount(name) > 1) return;
    const leave = (): void => {
      release();
      process.kill(process.pid, name);
    };
    if (ending) leave();
    else close().then(leave, leave);
    ending = true;
  };
  for (const name of names) process.on(name, end);
  return release;
}
