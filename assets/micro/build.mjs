// SPDX-License-Identifier: Apache-2.0

/**
 * Builds the micro guest: Debian's cloud kernel and an initramfs of busybox,
 * dropbear and the virtio modules. See README.md for what comes out and how
 * QEMU starts it. The same inputs give the same bytes.
 *
 *   node assets/micro/build.mjs [--out dist/micro] [--cache .cache/micro] [--check]
 *
 * With --check it only tells whether that has to be done: exit 0 when all is up
 * to date, else 3 and the reason.
 */

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';

import { newc } from './cpio.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const checkout = resolve(here, '../..');

/** Programs besides busybox: [path in the guest, path here, Debian's package]. */
const PROGRAMS = [
  ['usr/sbin/dropbear', '/usr/sbin/dropbear', 'dropbear-bin'],
  // Busybox has an nc without UDP.
  ['bin/nc', '/bin/nc.openbsd', 'netcat-openbsd'],
];

/** Loaded before the consoles start: what a lease needs. */
const EARLY_MODULES = ['virtio_pci', 'virtio_net'];

/** Loaded beside the consoles: keys, power button, disks, random numbers, word of a panic. */
const LATE_MODULES = [
  'qemu_fw_cfg',
  'button',
  'evdev',
  'virtio_blk',
  'virtio_console',
  'virtio-rng',
  'pvpanic-pci',
];

/**
 * tty1 is the screen and ttyS0 the serial port, which as the last one is also
 * /dev/console. The rest saves time under emulation, about 0.5 s in all: no
 * messages on a slow port, no self-tests of ciphers, no random kernel address,
 * no mouse, no security modules without a policy, no timer check (TCG fails it
 * on a busy host), random numbers from the processor where it has them.
 * panic=-1 reboots at once, so QEMU's -no-reboot tells of it.
 */
const APPEND = [
  'console=tty1',
  'console=ttyS0,115200',
  'quiet',
  'panic=-1',
  'no_timer_check',
  'nokaslr',
  'mitigations=off',
  'apparmor=0',
  'audit=0',
  'cryptomgr.notests',
  'rcupdate.rcu_expedited=1',
  'i8042.noaux',
  'i8042.nomux',
  'random.trust_cpu=on',
].join(' ');

const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;
const S_IFLNK = 0o120000;
const S_IFCHR = 0o020000;

class BuildError extends Error {}

function run(command, args, options = {}) {
  // What apt says is read, so it must not be translated.
  const env = { ...process.env, LC_ALL: 'C.UTF-8' };
  return execFileSync(command, args, {
    encoding: 'utf8',
    env,
    timeout: 300_000,
    maxBuffer: 1 << 28,
    ...options,
  });
}

/** The newest kernel package in the cache, if any. */
function cachedPackage(cache) {
  if (!existsSync(cache)) return undefined;
  const name = readdirSync(cache)
    .filter((one) => /^linux-image-.*-cloud-amd64_.*_amd64\.deb$/.test(one))
    .toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true }))
    .at(-1);
  return name && join(cache, name);
}

/** Downloads the kernel's package into the cache; it is never installed. */
function downloadPackage(cache) {
  const name = /^ {2}Depends: (linux-image-\S+-cloud-amd64)$/m.exec(
    run('apt-cache', ['depends', 'linux-image-cloud-amd64']),
  )?.[1];
  if (!name) throw new BuildError('apt knows no kernel behind linux-image-cloud-amd64; run: apt-get update');
  // Downloaded aside and moved, so that an interrupted download is not taken for a package.
  mkdirSync(cache, { recursive: true });
  const aside = mkdtempSync(join(cache, 'download-'));
  try {
    run('apt-get', ['download', '-q', name], { cwd: aside, stdio: ['ignore', 'ignore', 'pipe'] });
    for (const file of readdirSync(aside)) renameSync(join(aside, file), join(cache, file));
  } finally {
    rmSync(aside, { recursive: true });
  }
  const found = cachedPackage(cache);
  if (!found) throw new BuildError('apt-get downloaded no kernel package');
  return found;
}

/** Unpacks the package: the kernel, its release, and its modules by name. */
function kernel(deb, cache) {
  const tree = join(cache, basename(deb, '.deb'));
  if (!existsSync(tree)) {
    const aside = mkdtempSync(join(cache, 'unpack-'));
    run('dpkg-deb', ['-x', deb, aside]);
    chmodSync(aside, 0o755);
    renameSync(aside, tree);
  }
  const release = readdirSync(join(tree, 'lib/modules'))[0];
  const modules = new Map();
  for (const path of readdirSync(join(tree, 'lib/modules', release), { recursive: true })) {
    const name = /^(.*)\.ko(\.xz)?$/.exec(basename(path))?.[1];
    if (name) modules.set(name, join(tree, 'lib/modules', release, path));
  }
  return { release, image: join(tree, 'boot', `vmlinuz-${release}`), modules };
}

/** A module's bytes; Debian compresses them from version 13 on. */
function moduleBytes(path) {
  return path.endsWith('.xz') ? run('xz', ['-dc', path], { encoding: 'buffer' }) : readFileSync(path);
}

/**
 * Names of the wanted modules and of those that they need, in loading order.
 * The package has no modules.dep (depmod writes that when it is installed), so
 * each module's own .modinfo is read.
 */
function loadingOrder(wanted, modules) {
  // File names have either _ or -, .modinfo only _.
  const byPlainName = new Map(
    [...modules].map(([name, path]) => [name.replaceAll('-', '_'), { name, path }]),
  );
  const order = [];
  const visit = (wish) => {
    const found = byPlainName.get(wish.replaceAll('-', '_'));
    if (!found) throw new BuildError(`the kernel package has no module ${wish}`);
    if (order.includes(found.name)) return;
    const depends = /\0depends=([^\0]*)\0/.exec(moduleBytes(found.path).toString('latin1'))?.[1] ?? '';
    depends.split(',').filter(Boolean).forEach(visit);
    order.push(found.name);
  };
  wanted.forEach(visit);
  return order;
}

/** The programs and the shared libraries that they are linked with: [path in the guest, file here]. */
function programsWithLibraries() {
  return PROGRAMS.flatMap(([path, program]) => [
    [path, realpathSync(program)],
    ...[...run('ldd', [program]).matchAll(/(\/\S+) \(0x/g)].map(([, library]) => [
      library.slice(1),
      realpathSync(library),
    ]),
  ]);
}

/** The entries of the initramfs, sorted so that parents come first. */
function rootfs({ modules }) {
  const entries = new Map();
  const add = (path, entry) => {
    for (let parent = dirname(path); parent !== '.'; parent = dirname(parent)) {
      if (!entries.has(parent)) entries.set(parent, { mode: S_IFDIR | 0o755 });
    }
    entries.set(path, entry);
  };
  const file = (path, data, executable) => add(path, { mode: S_IFREG | (executable ? 0o755 : 0o644), data });

  for (const path of ['dev', 'etc/dropbear', 'mnt', 'proc', 'run', 'sys', 'var/log', 'www'])
    add(path, { mode: S_IFDIR | 0o755 });
  add('root', { mode: S_IFDIR | 0o700 });
  add('tmp', { mode: S_IFDIR | 0o1777 });
  add('var/run', { mode: S_IFLNK | 0o777, data: Buffer.from('/run') });
  // The kernel opens it before anything is mounted.
  add('dev/console', { mode: S_IFCHR | 0o600, device: [5, 1] });
  add('dev/null', { mode: S_IFCHR | 0o666, device: [1, 3] });

  file('bin/busybox', readFileSync('/bin/busybox'), true);
  for (const applet of run('/bin/busybox', ['--list-full']).split('\n').filter(Boolean)) {
    if (applet !== 'bin/busybox') add(applet, { mode: S_IFLNK | 0o777, data: Buffer.from('/bin/busybox') });
  }
  for (const [path, source] of programsWithLibraries()) file(path, readFileSync(source), true);

  const early = loadingOrder(EARLY_MODULES, modules);
  const late = loadingOrder(LATE_MODULES, modules).filter((name) => !early.includes(name));
  for (const name of [...early, ...late])
    file(`lib/modules/${name}.ko`, moduleBytes(modules.get(name)), false);
  file('lib/modules/early', Buffer.from(early.map((name) => `${name}.ko\n`).join('')), false);
  file('lib/modules/late', Buffer.from(late.map((name) => `${name}.ko\n`).join('')), false);

  // Last, so that the recipe's files win over busybox's links.
  for (const path of recipeFiles(join(here, 'rootfs'))) {
    const source = join(here, 'rootfs', path);
    file(path, readFileSync(source), (lstatSync(source).mode & 0o100) !== 0);
  }
  return [...entries]
    .map(([path, entry]) => ({ path, ...entry }))
    .toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

function recipeFiles(root) {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)))
    .toSorted();
}

/** What the outputs depend on, cheaply: recipes by content, the rest by path, size and time. */
function inputs(deb) {
  const hash = createHash('sha256');
  for (const path of recipeFiles(here).filter((name) => name !== 'README.md')) {
    hash
      .update(`${path}\0${lstatSync(join(here, path)).mode & 0o100}\0`)
      .update(readFileSync(join(here, path)));
  }
  for (const path of [deb, '/bin/busybox', ...programsWithLibraries().map(([, source]) => source)]) {
    const { size, mtimeMs } = lstatSync(path);
    hash.update(`${path}\0${size}\0${mtimeMs}\0`);
  }
  return hash.digest('hex');
}

function sha256(data) {
  return createHash('sha256').update(data).digest('hex');
}

function publish(path, data) {
  // Moved into place: a guest that starts meanwhile reads the old or the new, never a half.
  const aside = `${path}.new`;
  writeFileSync(aside, data);
  chmodSync(aside, 0o644);
  renameSync(aside, path);
}

/** The three files that come out. */
function outputsIn(out) {
  return ['vmlinuz', 'initramfs.img', 'micro.json'].map((name) => join(out, name));
}

/** Why a build is needed, or undefined. Writes nothing. */
function staleBecause(out, cache) {
  const missing = outputsIn(out).find((path) => !existsSync(path));
  if (missing) return `${missing} is missing`;
  const deb = cachedPackage(cache);
  // Outputs that came from elsewhere, without the cache that they were made of, are as good.
  if (!deb) return undefined;
  const stamp = join(out, '.inputs');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === inputs(deb)) return undefined;
  return 'recipe or inputs changed';
}

function build(out, cache) {
  for (const [, program, name] of [['bin/busybox', '/bin/busybox', 'busybox-static'], ...PROGRAMS]) {
    if (!existsSync(program)) throw new BuildError(`${program} is missing; install ${name}`);
  }
  if (staleBecause(out, cache) === undefined) return 'up to date';
  const deb = cachedPackage(cache) ?? downloadPackage(cache);
  const wanted = inputs(deb);
  const found = kernel(deb, cache);
  const image = readFileSync(found.image);
  const initramfs = gzipSync(newc(rootfs(found)), { level: 9 });
  const manifest = {
    version: sha256(sha256(image) + sha256(initramfs)).slice(0, 16),
    kernel: 'vmlinuz',
    initramfs: 'initramfs.img',
    kernelRelease: found.release,
    append: APPEND,
    sha256: { vmlinuz: sha256(image), 'initramfs.img': sha256(initramfs) },
  };
  mkdirSync(out, { recursive: true });
  chmodSync(out, 0o755);
  const [vmlinuz, initrd, json] = outputsIn(out);
  publish(vmlinuz, image);
  publish(initrd, initramfs);
  publish(json, `${JSON.stringify(manifest, null, 2)}\n`);
  publish(join(out, '.inputs'), wanted);
  return `${(image.length / 1e6).toFixed(1)} MB kernel ${found.release}, ${(initramfs.length / 1e6).toFixed(1)} MB initramfs`;
}

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: join(checkout, 'dist/micro') },
    cache: { type: 'string', default: join(checkout, '.cache/micro') },
    check: { type: 'boolean', default: false },
  },
});
const out = resolve(values.out);
const cache = resolve(values.cache);
try {
  if (values.check) {
    const reason = staleBecause(out, cache);
    if (reason) console.log(reason);
    process.exitCode = reason ? 3 : 0;
  } else {
    console.log(build(out, cache));
  }
} catch (error) {
  console.error(`micro guest: ${error.stderr?.toString().trim() || error.message}`);
  process.exitCode = 1;
}
