// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The top of the checkout, where it really is. */
export const checkout = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
/** The checkout as processes of a world see it. */
export const checkoutInside = '/mnt/tapyard';
/** Its netd, as processes of a world start it. */
export const netdInside = `${checkoutInside}/native/target/release/tapyard-netd`;
const frontInCheckout = 'native/target/release/tapyard';
/** The command as users start it: the native front, which becomes Node where no core does what is asked. */
export const front = path.join(checkout, frontInCheckout);

/** The fake internet's addresses. */
export const wanAddress = '203.0.113.1';
export const hostAddress = '203.0.113.2';

/** What a finished command left. */
export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Who runs a command: the world's ordinary user, or root (still inside the world's namespaces). */
export type Who = 'user' | 'root';

export interface RunOptions {
  readonly as?: Who;
  /** ms until the command is killed and the run rejected; 60 s by default. */
  readonly timeout?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
}

export interface WorldOptions {
  /** host1's net.ipv4.ping_group_range; "1 0" (the kernel's default) lets nobody ping. */
  readonly pingGroupRange?: string;
  readonly nameserver?: string;
  /** Packages of the checkout, unpacked, that all commands find laid over /usr. */
  readonly over?: string;
}

let nextWorld = 0;

/** Runs a program of the test itself, as root, outside any world; throws with its words when it fails. */
function must(program: string, ...args: string[]): string {
  const result = spawnSync(program, args, { encoding: 'utf8', timeout: 20_000 });
  if (result.status !== 0) {
    throw new Error(
      `${program} ${args.join(' ')}: ${result.error?.message ?? result.stderr.trim()} (exit ${result.status})`,
    );
  }
  return result.stdout;
}

/**
 * A small internet: the namespace `host1` with a veth to `wan1` (203.0.113.1/24, 2001:db8::1/64), an ordinary
 * user of its own uid, and directories of its own. Nothing in it touches the machine's own interfaces.
 */
export class World {
  readonly hostNetns: string;
  readonly wanNetns: string;
  readonly uid: number;
  /** A short path (sockets have at most 107 bytes), owned by the user; `home/`, `run/` and `root-run/` in it. */
  readonly dir: string;
  readonly #children = new Set<ChildProcess>();

  readonly #over: string | undefined;

  private constructor(id: string, uid: number, dir: string, over?: string) {
    this.hostNetns = `ty${id}h`;
    this.wanNetns = `ty${id}w`;
    this.uid = uid;
    this.dir = dir;
    this.#over = over;
  }

  static create(options: WorldOptions = {}): World {
    if (process.getuid?.() !== 0) {
      throw new Error('This suite makes network namespaces and needs root: run it with sudo.');
    }
    if ((statSync('/dev/net/tun').mode & 0o666) !== 0o666) chmodSync('/dev/net/tun', 0o666); // as udev has it
    nextWorld += 1;
    const number = (process.pid * 8 + nextWorld) % 20_000;
    const dir = mkdtempSync('/tmp/tyw-');
    const world = new World(String(number), 40_000 + number, dir, options.over);
    try {
      world.#make(options.pingGroupRange ?? '0 2147483647', options.nameserver ?? wanAddress);
    } catch (error) {
      world.close();
      throw error;
    }
    return world;
  }

  #make(pingGroupRange: string, nameserver: string): void {
    chmodSync(this.dir, 0o755);
    for (const [name, owner] of [
      ['home', this.uid],
      ['run', this.uid],
      ['root-home', 0],
      ['root-run', 0],
      ['etc', 0],
    ] as const) {
      mkdirSync(path.join(this.dir, name), { mode: name === 'etc' ? 0o755 : 0o700 });
      chownSync(path.join(this.dir, name), owner, owner);
    }
    const etc = path.join(this.dir, 'etc');
    writeFileSync(
      path.join(etc, 'passwd'),
      `${readFileSync('/etc/passwd', 'utf8')}tester:x:${this.uid}:${this.uid}::${this.home('user')}:/bin/sh\n`,
    );
    writeFileSync(path.join(etc, 'group'), `${readFileSync('/etc/group', 'utf8')}tester:x:${this.uid}:\n`);
    writeFileSync(path.join(etc, 'resolv.conf'), `nameserver ${nameserver}\n`);

    must('ip', 'netns', 'add', this.hostNetns);
    must('ip', 'netns', 'add', this.wanNetns);
    // Without it an address is tentative for a second, and no two pictures of the kernel are the same.
    for (const netns of [this.hostNetns, this.wanNetns]) {
      must('ip', 'netns', 'exec', netns, 'sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=0');
    }
    must(
      'ip',
      '-n',
      this.hostNetns,
      'link',
      'add',
      'eth0',
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      this.wanNetns,
    );
    for (const netns of [this.hostNetns, this.wanNetns]) {
      must('ip', '-n', netns, 'link', 'set', 'lo', 'up');
      must('ip', '-n', netns, 'link', 'set', 'eth0', 'up');
    }
    must('ip', '-n', this.hostNetns, 'addr', 'add', `${hostAddress}/24`, 'dev', 'eth0');
    must('ip', '-n', this.hostNetns, 'route', 'add', 'default', 'via', wanAddress);
    must('ip', '-n', this.wanNetns, 'addr', 'add', `${wanAddress}/24`, 'dev', 'eth0');
    must('ip', '-n', this.wanNetns, 'addr', 'add', '2001:db8::1/64', 'dev', 'eth0', 'nodad');
    must(
      'ip',
      'netns',
      'exec',
      this.hostNetns,
      'sysctl',
      '-qw',
      `net.ipv4.ping_group_range=${pingGroupRange}`,
    );
  }

  home(who: Who): string {
    return path.join(this.dir, who === 'root' ? 'root-home' : 'home');
  }

  /** $XDG_RUNTIME_DIR of `who`. */
  runtimeDir(who: Who): string {
    return path.join(this.dir, who === 'root' ? 'root-run' : 'run');
  }

  #environment(who: Who, more: Readonly<Record<string, string>>): Record<string, string> {
    return {
      PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin',
      LANG: 'C.UTF-8',
      HOME: this.home(who),
      USER: who === 'root' ? 'root' : 'tester',
      XDG_RUNTIME_DIR: this.runtimeDir(who),
      TAPYARD_ACCEL: 'tcg',
      // As sudo would tell: netd runs with privilege from nobody's checkout but root's and the caller's.
      ...(who === 'root' ? { SUDO_UID: String(statSync(checkout).uid) } : {}),
      ...(this.#over === undefined ? {} : { TAPYARD_WORLD_OVER: this.#over }),
      ...more,
    };
  }

  /** Starts a command in host1 (or wan1) and leaves it running; it is killed when the world ends. */
  start(command: readonly string[], options: RunOptions & { in?: 'host1' | 'wan1' } = {}): ChildProcess {
    const who = options.as ?? 'user';
    const netns = options.in === 'wan1' ? this.wanNetns : this.hostNetns;
    const uid = who === 'root' ? 0 : this.uid;
    const child = spawn(
      path.join(checkout, 'test/world/enter.sh'),
      [netns, String(uid), path.join(this.dir, 'etc'), checkout, ...command],
      { env: this.#environment(who, options.env ?? {}), stdio: ['pipe', 'pipe', 'pipe'] },
    );
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
    return child;
  }

  /** Runs a command to its end. It never rejects for an exit code; it does for a deadline. */
  async run(
    command: readonly string[],
    options: RunOptions & { in?: 'host1' | 'wan1' } = {},
  ): Promise<Finished> {
    const child = this.start(command, options);
    return finish(child, command.join(' '), options);
  }

  /** Runs a command to its end and throws with its words unless it exits 0. Answers its stdout. */
  async must(
    command: readonly string[],
    options: RunOptions & { in?: 'host1' | 'wan1' } = {},
  ): Promise<string> {
    const done = await this.run(command, options);
    if (done.code !== 0) {
      throw new Error(
        `${command.join(' ')} exited ${done.code ?? done.signal}\n${done.stdout}\n${done.stderr}`,
      );
    }
    return done.stdout;
  }

  /** Runs the `tapyard` command of this checkout. */
  tapyard(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
    return this.run(this.tapyardCommand(args), options);
  }

  /** Starts `tapyard serve` and answers it once it has printed its address. */
  async serve(options: RunOptions = {}): Promise<ChildProcess> {
    const serve = this.start(this.tapyardCommand(['serve']), options);
    await firstWords(serve, 'tapyard serve');
    return serve;
  }

  /** Starts the fake internet's servers in wan1 (see wan.mjs). */
  async serveWan(): Promise<void> {
    const command = [process.execPath, `${checkoutInside}/test/world/wan.mjs`];
    await firstWords(this.start(command, { as: 'root', in: 'wan1' }), 'the fake internet');
  }

  tapyardCommand(args: readonly string[]): string[] {
    return [`${checkoutInside}/${frontInCheckout}`, ...args];
  }

  /** Writes a file that belongs to `who` and answers its path. */
  file(name: string, text: string | Uint8Array, who: Who = 'user'): string {
    const where = path.join(this.home(who), name);
    mkdirSync(path.dirname(where), { recursive: true });
    writeFileSync(where, text);
    const uid = who === 'root' ? 0 : this.uid;
    for (let at = where; at.startsWith(this.home(who)); at = path.dirname(at)) chownSync(at, uid, uid);
    return where;
  }

  /** pids of this world: the user's, and whatever is in its network namespaces. */
  processes(): { pid: number; command: string }[] {
    const inodes = new Set(
      [this.hostNetns, this.wanNetns]
        .filter((name) => existsSync(`/run/netns/${name}`))
        .map((name) => statSync(`/run/netns/${name}`).ino),
    );
    const found: { pid: number; command: string }[] = [];
    for (const entry of readdirSync('/proc')) {
      if (!/^[0-9]+$/.test(entry)) continue;
      try {
        const uid = /^Uid:\s+\d+\s+(\d+)/m.exec(readFileSync(`/proc/${entry}/status`, 'utf8'))?.[1];
        const inode = Number(/\[(\d+)\]/.exec(readlinkSync(`/proc/${entry}/ns/net`))?.[1]);
        if (Number(uid) !== this.uid && !inodes.has(inode)) continue;
        if (/^State:\s+Z/m.test(readFileSync(`/proc/${entry}/status`, 'utf8'))) continue;
        found.push({
          pid: Number(entry),
          command: readFileSync(`/proc/${entry}/cmdline`, 'utf8').replaceAll('\0', ' ').trim(),
        });
      } catch {
        // It ended while we looked.
      }
    }
    return found;
  }

  /** Files, sockets and directories that `who` has in the runtime directory and in /tmp, as sorted paths. */
  leftFiles(who: Who = 'user'): string[] {
    const left: string[] = [];
    const walk = (dir: string): void => {
      for (const entry of readdirSync(dir, { withFileTypes: true })) {
        left.push(path.join(dir, entry.name));
        if (entry.isDirectory()) walk(path.join(dir, entry.name));
      }
    };
    walk(this.runtimeDir(who));
    if (who === 'user') {
      for (const entry of readdirSync('/tmp')) {
        try {
          if (statSync(path.join('/tmp', entry)).uid === this.uid) left.push(path.join('/tmp', entry));
        } catch {
          // It went while we looked.
        }
      }
    }
    return left.sort();
  }

  /** Ends every process of the world (by pid), then its namespaces and files. Safe to call twice. */
  close(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    for (let attempt = 0; attempt < 50; attempt += 1) {
      const left = this.processes();
      if (left.length === 0) break;
      for (const { pid } of left) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It ended by itself.
        }
      }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
    for (const netns of [this.hostNetns, this.wanNetns]) spawnSync('ip', ['netns', 'del', netns]);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Waits for a child's end and gathers its output. */
export function finish(child: ChildProcess, name: string, options: RunOptions = {}): Promise<Finished> {
  return new Promise((resolve, reject) => {
    let stdout = '';
    let stderr = '';
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
    if (options.input !== undefined) child.stdin?.write(options.input);
    child.stdin?.end();
    const deadline = options.timeout ?? 60_000;
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`${name}: no end after ${deadline} ms\n${stdout}\n${stderr}`));
    }, deadline);
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, stdout, stderr });
    });
  });
}

/** Waits until a child that goes on has said its first words, and answers them; throws if it ends or is silent. */
export function firstWords(child: ChildProcess, name: string, deadline = 60_000): Promise<string> {
  return new Promise((resolve, reject) => {
    let complaint = '';
    const fail = (what: string): void => reject(new Error(`${name} ${what}\n${complaint}`));
    const timer = setTimeout(() => fail(`says nothing within ${deadline} ms`), deadline);
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (complaint += text));
    child.stdout?.setEncoding('utf8').once('data', (text: string) => {
      clearTimeout(timer);
      resolve(text);
    });
    child.once('close', () => {
      clearTimeout(timer);
      fail('ended without a word');
    });
  });
}

/** Asks a child to end and waits until it has. */
export async function ended(child: ChildProcess, name: string, deadline = 20_000): Promise<void> {
  child.kill('SIGTERM');
  await until(`${name} ends`, deadline, () => child.exitCode !== null || child.signalCode !== null);
}

/** Waits until `probe` answers something other than undefined or false; throws `what` after `deadline` ms. */
export async function until<T>(
  what: string,
  deadline: number,
  probe: () => Promise<T | undefined | false> | T | undefined | false,
): Promise<T> {
  const end = Date.now() + deadline;
  for (;;) {
    const answer = await probe();
    if (answer !== undefined && answer !== false) return answer;
    if (Date.now() > end) throw new Error(`${what}: not within ${deadline} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
