// SPDX-License-Identifier: Apache-2.0
import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import process from 'node:process';
import { TapyardError } from '../../contract/error.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** Debian keeps these from ordinary users' PATH. */
const systemDirectories = ['/usr/local/sbin', '/usr/sbin', '/sbin'];
/** What a shell would use without a PATH. */
const defaultPath = '/usr/local/bin:/usr/bin:/bin';

/** Where a package has Tapyard's own programs. */
export const installedDirectory = '/usr/libexec/tapyard';

/** Whether this user may execute it. */
export function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** The absolute path of a program: on PATH (its relative entries ignored), else in the sbin directories; undefined when nowhere. */
export function findProgram(name: string, environment: Environment = process.env): string | undefined {
  const path = (environment['PATH'] ?? defaultPath).split(':').filter((entry) => isAbsolute(entry));
  return [...path, ...systemDirectories].map((directory) => join(directory, name)).find(isProgram);
}

/** The path of QEMU's `name` (`qemu-system-x86_64`, `qemu-img`). Throws QEMU_MISSING with the packages that have it. */
export function qemuProgram(
  name: 'qemu-system-x86_64' | 'qemu-img',
  environment: Environment = process.env,
): string {
  const found = findProgram(name, environment);
  if (found !== undefined) return found;
  const packages =
    name === 'qemu-img'
      ? 'Debian, Ubuntu: qemu-utils; Fedora: qemu-img; Arch: qemu-img; openSUSE: qemu-tools.'
      : 'Debian, Ubuntu: qemu-system-x86; Fedora: qemu-system-x86-core; Arch: qemu-system-x86; openSUSE: qemu-x86.';
  throw new TapyardError('QEMU_MISSING', `${name} is not installed: it is not on the PATH.`, {
    hint: `Install it. ${packages}`,
    subject: name,
  });
}

/** The directory of the running file: of the bundle, or of this module when it runs unbundled. */
function ownDirectory(): string {
  // A CommonJS bundle (the Electron shell) has no import.meta, and a module has no __dirname.
  const meta: { readonly dirname?: string } = import.meta;
  if (meta.dirname !== undefined) return meta.dirname;
  return typeof __dirname === 'string' ? __dirname : process.cwd();
}

/** The nearest directory at or above the running file where `path` exists: the root of a checkout. */
function inCheckout(path: string): string | undefined {
  for (let directory = ownDirectory(); ; directory = dirname(directory)) {
    const candidate = join(directory, path);
    try {
      statSync(candidate);
      return candidate;
    } catch {
      if (directory === dirname(directory)) return undefined;
    }
  }
}

/**
 * The path of one of Tapyard's own programs: in `TAPYARD_LIBEXEC` (tests), else `native/target/release` of the
 * checkout that the running file is in, else /usr/libexec/tapyard. Throws NETD_MISSING.
 */
export function ownProgram(
  name: 'tapyard-netd' | 'tapyard-tap',
  environment: Environment = process.env,
): string {
  const given = environment['TAPYARD_LIBEXEC'];
  const candidates =
    given !== undefined && isAbsolute(given)
      ? [join(given, name)]
      : [inCheckout(join('native/target/release', name)), join(installedDirectory, name)];
  const found = candidates.find((candidate) => candidate !== undefined && isProgram(candidate));
  if (found !== undefined) return found;
  throw new TapyardError('NETD_MISSING', `Tapyard's own program ${name} was not found.`, {
    hint: 'In a checkout run: npm run setup. In an installation, install the package again.',
    subject: name,
  });
}

/**
 * Where an administrator puts the netd that one group may run with file capabilities. A copy of its own: the
 * other, which serves the private scope, has no capability and is for everybody.
 */
export const installedNetd = join(installedDirectory, 'host', 'tapyard-netd');

/** Our polkit policy in a checkout; a package has it where polkit looks for it, and there alone. */
export function ownPolicy(): string | undefined {
  return inCheckout('assets/polkit/dev.tapyard.Tapyard.policy');
}

/** The directory of the built micro guest (`micro.json` and what it names): of the checkout, else of the package. */
export function microDirectory(): string {
  return inCheckout('dist/micro') ?? '/usr/share/tapyard/micro';
}

/** The directory of the built page (`index.html` and what it loads): of the checkout, else of the package. */
export function rendererDirectory(): string {
  return inCheckout('dist/renderer') ?? '/usr/share/tapyard/renderer';
}

/** The lab file of the tutorial, to be copied: of the checkout, else of the package. */
export function demoLabFile(): string {
  return inCheckout('assets/labs/seed.yaml') ?? '/usr/share/tapyard/labs/seed.yaml';
}

/** The directory that Electron is started with: the one whose package.json this code came with. */
export function applicationDirectory(): string | undefined {
  const path = inCheckout('package.json');
  return path === undefined ? undefined : dirname(path);
}

/** The version in the package.json that this code came with; `0` where there is none. */
export function tapyardVersion(): string {
  const path = inCheckout('package.json');
  if (path === undefined) return '0';
  const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
  return typeof value === 'object' && value !== null && 'version' in value ? String(value.version) : '0';
}
