// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';
import { newc } from '../../assets/micro/cpio.mjs';
import { checkout, type Finished, until } from './world.ts';

/** The kernels that set-up has unpacked (scripts/setup/stock-kernels.mjs): Linux 6.1 and 6.12. */
export type StockKernelName = 'debian-12' | 'debian-13';

/** What the root file system and the orders come through. */
const earlyModules = ['virtio_pci', 'virtio_console', '9pnet_virtio', '9p', 'overlay'];

/** See assets/micro/build.mjs: it saves time under emulation. The port's messages are kept for a failure. */
const commandLine =
  'console=ttyS0,115200 quiet panic=-1 no_timer_check nokaslr mitigations=off apparmor=0 audit=0 ' +
  'cryptomgr.notests rcupdate.rcu_expedited=1 i8042.noaux i8042.nomux random.trust_cpu=on';

/**
 * What the tests start by the hundred: with their libraries they are in memory, for each file that is opened over 9p
 * costs the host's time as well.
 */
const oftenStarted =
  'sh nsenter unshare setpriv mount readlink mkdir cat grep sort env sleep timeout busybox nc ip tc nft sysctl'.split(
    ' ',
  );

const bootDeadline = 120_000;
/** No test of ours lasts longer, and no QEMU outlives a test that was killed for longer than this, in seconds. */
const longestLife = 1500;

export interface OrderOptions {
  /** ms until the order is given up and the promise rejected; 60 s by default. */
  readonly timeout?: number;
  /** What it says, on either stream, as it comes. */
  readonly heard?: (text: string) => void;
}

/**
 * A kernel of a distribution, with all its modules, in QEMU (TCG): its root file system is this machine's own, with
 * memory over it, and the checkout is at the same path. Programs run there as root, and what they change goes with
 * it; /tmp and /run are empty. There is no network but the one that they make.
 */
export class StockKernel {
  /** As `uname -r` has it. */
  readonly release: string;
  readonly #qemu: ChildProcess;
  readonly #exchange: string;
  #orders = 0;

  private constructor(release: string, qemu: ChildProcess, exchange: string) {
    this.release = release;
    this.#qemu = qemu;
    this.#exchange = exchange;
  }

  static async boot(name: StockKernelName): Promise<StockKernel> {
    const kernel = path.join(checkout, '.cache/stock-kernels', name);
    if (!existsSync(kernel)) {
      throw new Error(
        `The kernel of ${name} is not unpacked: npm test does it, or npm run setup -- --for test.`,
      );
    }
    const release = readFileSync(path.join(kernel, 'release'), 'utf8').trim();
    const exchange = mkdtempSync('/tmp/tapyard-kernel-');
    writeFileSync(path.join(exchange, 'initramfs'), initramfs(path.join(kernel, 'lib/modules', release)));
    writeFileSync(
      path.join(exchange, 'boot'),
      `CHECKOUT='${checkout}' KERNEL='${kernel}' RELEASE='${release}'\n`,
    );
    const qemu = spawn(
      'timeout',
      ['-s', 'KILL', String(longestLife), 'qemu-system-x86_64', ...machine(kernel, exchange)],
      { stdio: ['pipe', 'ignore', 'pipe'] },
    );
    let complaint = '';
    qemu.stderr?.setEncoding('utf8').on('data', (text: string) => (complaint += text));
    qemu.stdin?.on('error', () => undefined);
    const booted = new StockKernel(release, qemu, exchange);
    try {
      await until(`${release} boots`, bootDeadline, () => {
        if (qemu.exitCode !== null) throw new Error(`QEMU ended: ${complaint}`);
        return existsSync(path.join(exchange, 'ready'));
      });
    } catch (error) {
      const words = booted.console();
      await booted.close();
      throw new Error(`${String(error)}\n${words}`, { cause: error });
    }
    return booted;
  }

  /** Runs a script (sh) as root to its end; several may run at once. */
  async run(script: string, options: OrderOptions = {}): Promise<Finished> {
    this.#orders += 1;
    const order = path.join(this.#exchange, String(this.#orders));
    writeFileSync(`${order}.sh`, script);
    this.#qemu.stdin?.write(`${this.#orders}\n`);
    const said = (stream: 'out' | 'err'): string =>
      existsSync(`${order}.${stream}`) ? readFileSync(`${order}.${stream}`, 'utf8') : '';
    const told = { out: 0, err: 0 };
    const tell = (): void => {
      for (const stream of ['out', 'err'] as const) {
        const text = said(stream);
        if (text.length > told[stream]) options.heard?.(text.slice(told[stream]));
        told[stream] = text.length;
      }
    };
    const deadline = options.timeout ?? 60_000;
    try {
      await until('an order to the stock kernel ends', deadline, () => {
        if (options.heard !== undefined) tell();
        if (this.#qemu.exitCode !== null) throw new Error('QEMU ended');
        return existsSync(`${order}.code`);
      });
    } catch (error) {
      throw new Error(`${String(error)}\n${script}\n${said('out')}\n${said('err')}\n${this.console()}`, {
        cause: error,
      });
    }
    if (options.heard !== undefined) tell();
    const code = Number(readFileSync(`${order}.code`, 'utf8'));
    return { code, signal: null, stdout: said('out'), stderr: said('err') };
  }

  /** Runs a script to its end and throws with its words unless it exits 0. Answers its stdout. */
  async must(script: string, options: OrderOptions = {}): Promise<string> {
    const done = await this.run(script, options);
    if (done.code !== 0) throw new Error(`${script} exited ${done.code}\n${done.stdout}\n${done.stderr}`);
    return done.stdout;
  }

  /**
   * Runs a TypeScript program of the checkout (`test/guest/shape-inside.ts`) in Node, as root; it may make a World.
   * Throws with its words unless it exits 0. Answers its stdout.
   */
  async program(source: string, args: readonly string[] = [], options: OrderOptions = {}): Promise<string> {
    // Two levels below the checkout, as its sources are, which look for it from there.
    const bundle = path.join(checkout, 'dist/stock-kernel', `${path.basename(source, '.ts')}.mjs`);
    await build({
      absWorkingDir: checkout,
      entryPoints: [source],
      outfile: `${bundle}.${process.pid}`,
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'esm',
      logLevel: 'warning',
    });
    renameSync(`${bundle}.${process.pid}`, bundle);
    return this.must(
      `exec '${process.execPath}' '${bundle}' ${args.map((arg) => `'${arg}'`).join(' ')}`,
      options,
    );
  }

  /** The last that the kernel said on its console. */
  console(): string {
    const log = path.join(this.#exchange, 'console');
    return existsSync(log) ? readFileSync(log, 'utf8').slice(-4000) : '';
  }

  /** Ends it. Safe to call twice. */
  async close(): Promise<void> {
    const gone = this.#qemu.exitCode === null && this.#qemu.signalCode === null && once(this.#qemu, 'close');
    this.#qemu.kill('SIGTERM');
    await gone;
    rmSync(this.#exchange, { recursive: true, force: true });
  }
}

/** Boots a kernel, runs one script in it and ends it. */
export async function inStockKernel(
  name: StockKernelName,
  script: string,
  options: OrderOptions = {},
): Promise<Finished> {
  const kernel = await StockKernel.boot(name);
  try {
    return await kernel.run(script, options);
  } finally {
    await kernel.close();
  }
}

function machine(kernel: string, exchange: string): string[] {
  const share = (id: string, where: string, more: string): string[] => [
    '-fsdev',
    `local,id=${id},path=${where},security_model=none,multidevs=remap${more}`,
    '-device',
    `virtio-9p-pci,fsdev=${id},mount_tag=${id}`,
  ];
  const options = `-nodefaults -no-user-config -no-reboot -display none -machine q35 -accel tcg -cpu max,-la57,-smap,-smep -smp 2 -m 1024
    -chardev stdio,id=orders,signal=off -device virtio-serial-pci
    -device virtserialport,chardev=orders,name=orders -device virtio-rng-pci`;
  return [
    ...options.split(/\s+/),
    '-kernel',
    path.join(kernel, 'vmlinuz'),
    '-initrd',
    path.join(exchange, 'initramfs'),
    '-append',
    commandLine,
    '-serial',
    `file:${path.join(exchange, 'console')}`,
    ...share('root', '/', ',readonly=on'),
    ...share('exchange', exchange, ''),
  ];
}

const directory = 0o040755;
const program = 0o100755;
const characterDevice = 0o020600;

/** busybox, the first program and the modules, in the order in which they have to be loaded. */
function initramfs(modules: string): Buffer {
  const read = (file: string): string => readFileSync(path.join(modules, file), 'utf8');
  const builtIn = read('modules.builtin');
  const wanted = earlyModules.filter((module) => !builtIn.includes(`/${module}.ko`));
  const order = loadingOrder(read('modules.dep'), wanted);
  const name = (module: string): string => path.basename(module).replace(/\.xz$/, '');
  const bytes = (module: string): Buffer =>
    module.endsWith('.xz')
      ? execFileSync('xz', ['-dc', path.join(modules, module)], { maxBuffer: 1 << 26, timeout: 20_000 })
      : readFileSync(path.join(modules, module));
  return newc([
    ...['bin', 'dev', 'machine', 'memory', 'root'].map((where) => ({ path: where, mode: directory })),
    { path: 'dev/console', mode: characterDevice, device: [5, 1] as [number, number] },
    { path: 'bin/busybox', mode: program, data: readFileSync('/bin/busybox') },
    {
      path: 'init',
      mode: program,
      data: readFileSync(path.join(checkout, 'test/world/stock-kernel-init.sh')),
    },
    {
      path: 'modules',
      mode: program,
      data: Buffer.from(order.map((module) => `${name(module)}\n`).join('')),
    },
    ...order.map((module) => ({ path: name(module), mode: program, data: bytes(module) })),
    ...inMemory(oftenStarted),
  ]);
}

function filesBelow(top: string): string[] {
  return readdirSync(top, { recursive: true, encoding: 'utf8' })
    .map((name) => path.join(top, name))
    .filter((file) => statSync(file).isFile());
}

interface Entry {
  readonly path: string;
  readonly mode: number;
  readonly data?: Buffer;
}

/** The programs and what each opens when it starts, as the initramfs has them below /often, parents first. */
function inMemory(programs: readonly string[]): Entry[] {
  const places = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];
  const found = programs.flatMap(
    (name) => places.map((place) => path.join(place, name)).find(existsSync) ?? [],
  );
  const libraries = execFileSync('sh', ['-c', 'for each; do ldd "$each"; done; :', 'sh', ...found], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: 20_000,
  }).matchAll(/(\/\S+) \(0x/g);
  const entries = new Map<string, Entry>();
  const locale = '/usr/lib/locale/C.utf8';
  const others = ['/etc/ld.so.cache', ...(existsSync(locale) ? filesBelow(locale) : [])];
  for (const file of [...found, ...[...libraries].map(([, library]) => library ?? ''), ...others]) {
    // Where the directory really is: /lib is a link of the root file system's.
    const where = path.join('often', realpathSync(path.dirname(file)), path.basename(file));
    const parts = where.split('/');
    for (let depth = 1; depth < parts.length; depth += 1) {
      entries.set(parts.slice(0, depth).join('/'), {
        path: parts.slice(0, depth).join('/'),
        mode: directory,
      });
    }
    entries.set(where, { path: where, mode: statSync(file).mode, data: readFileSync(file) });
  }
  return [...entries.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

/** The modules and what they need, from `modules.dep`: `a.ko: b.ko c.ko`, where a needs b, and b may need c. */
function loadingOrder(dep: string, wanted: readonly string[]): string[] {
  const lines = dep.split('\n').map((line) => line.split(/[: ]+/).filter(Boolean));
  const order = new Set<string>();
  for (const module of wanted) {
    const line = lines.find(([file]) => new RegExp(`/${module}\\.ko`).test(file ?? ''));
    if (line === undefined) throw new Error(`the kernel has no module ${module}`);
    for (const needed of line.toReversed()) order.add(needed);
  }
  return [...order];
}
