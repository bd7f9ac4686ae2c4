// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, type Stats, statSync } from 'node:fs';
import { homedir, userInfo } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import process from 'node:process';
import { TapyardError } from '../../contract/error.ts';

/*
 * Where Tapyard keeps what (XDG Base Directory Specification 0.8). Paths are computed from the environment at
 * every call, never kept: tests and `sudo -E` change it.
 */

type Environment = Readonly<Record<string, string | undefined>>;

/** sun_path of unix(7) has 108 bytes, the last one for the NUL. */
const longestSocketPath = 107;

/** This process's user id. */
export function ownUid(): number {
  if (process.getuid === undefined) throw new TapyardError('INTERNAL', 'Tapyard runs on Linux only');
  return process.getuid();
}

/** A variable's value where it is an absolute path; the specification says to ignore any other. */
function absolute(value: string | undefined): string | undefined {
  return value !== undefined && isAbsolute(value) ? value : undefined;
}

/** A name as one directory of bounded length: as it is up to 24 characters, else 15 of them, `-`, and 8 hex digits of its SHA-256. */
export function shortName(name: string): string {
  if (name.length <= 24) return name;
  return `${name.slice(0, 15)}-${createHash('sha256').update(name).digest('hex').slice(0, 8)}`;
}

function statOf(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch {
    return undefined;
  }
}

/**
 * What is wrong with a directory that must be this user's alone, in words; undefined when nothing is.
 * `modeMask` are the permission bits that must not be set.
 */
function flaw(path: string, stats: Stats | undefined, modeMask: number): string | undefined {
  if (stats === undefined) return `${path} does not exist or cannot be read`;
  // A link in a directory that others may write to (/tmp) can be pointed elsewhere at any time.
  if (stats.isSymbolicLink()) return `${path} is a symbolic link`;
  if (!stats.isDirectory()) return `${path} is not a directory`;
  if (stats.uid !== ownUid()) return `${path} belongs to user ${stats.uid}, not to you (${ownUid()})`;
  if ((stats.mode & modeMask) !== 0) {
    return `${path} has mode ${(stats.mode & 0o777).toString(8).padStart(4, '0')}: other users may enter it`;
  }
  return undefined;
}

/**
 * Makes `path` with its missing parents, each 0700, and checks it: this user's own, no symbolic link, closed to
 * others. Throws RUNTIME_DIR_UNSAFE where it is not, RUNTIME_DIR_MISSING where it cannot be made. Returns `path`.
 */
export function makePrivateDir(path: string): string {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    // EEXIST: something else has the name, and the check below says what.
    if (statOf(path) === undefined) {
      throw new TapyardError('RUNTIME_DIR_MISSING', `The directory ${path} cannot be made: ${words(cause)}`, {
        hint: 'Make it yourself with mode 0700, or set XDG_RUNTIME_DIR to a directory of yours.',
        subject: path,
        cause,
      });
    }
  }
  const wrong = flaw(path, statOf(path), 0o077);
  if (wrong !== undefined) {
    throw new TapyardError('RUNTIME_DIR_UNSAFE', `${wrong}. Tapyard's sockets would not be safe there.`, {
      hint: `Look at it, then remove it or run: chmod 0700 ${path}`,
      subject: path,
    });
  }
  return path;
}

function words(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/**
 * Throws RUNTIME_DIR_UNSAFE where somebody else could put another directory in the place of ours: the directory is
 * another user's (`sudo -E` keeps XDG_RUNTIME_DIR), or all may write to it and it is not sticky as /tmp is.
 */
function refuseOthersPlace(path: string): void {
  const { uid, mode } = statSync(path);
  const open = (mode & 0o002) !== 0 && (mode & 0o1000) === 0;
  if ((uid === ownUid() || uid === 0) && !open) return;
  const whose = open ? 'can be written to by everybody' : `belongs to user ${uid}, not to you (${ownUid()})`;
  throw new TapyardError('RUNTIME_DIR_UNSAFE', `XDG_RUNTIME_DIR names ${path}, which ${whose}.`, {
    hint: 'With sudo, leave -E out or unset XDG_RUNTIME_DIR. Otherwise set it to a directory of yours (mkdir -m 0700).',
    subject: path,
  });
}

/**
 * The directory of all sockets and of what lives until the next boot: `$XDG_RUNTIME_DIR/tapyard`, else
 * `/run/user/<uid>/tapyard` where that is ours, else `/tmp/tapyard-<uid>`. It is made (0700) and checked.
 * Throws RUNTIME_DIR_UNSAFE, RUNTIME_DIR_MISSING.
 */
export function runtimeDir(environment: Environment = process.env): string {
  const given = absolute(environment['XDG_RUNTIME_DIR']);
  if (given !== undefined) {
    const stats = statOf(given);
    if (stats === undefined) {
      throw new TapyardError('RUNTIME_DIR_MISSING', `XDG_RUNTIME_DIR names ${given}, which is not there.`, {
        hint: 'Log in through your desktop or ssh (not su), or unset XDG_RUNTIME_DIR.',
        subject: given,
      });
    }
    refuseOthersPlace(given);
    return makePrivateDir(join(given, 'tapyard'));
  }
  const usual = `/run/user/${ownUid()}`;
  if (flaw(usual, statOf(usual), 0o022) === undefined) return makePrivateDir(join(usual, 'tapyard'));
  return makePrivateDir(`/tmp/tapyard-${ownUid()}`);
}

/** The runtime directory of one lab (not made here). netd's directory and its guests' are inside. */
export function labDir(lab: string, environment: Environment = process.env): string {
  return join(runtimeDir(environment), 'labs', shortName(lab));
}

/** The runtime directory of one guest (not made here): its sockets and its state file. */
export function guestDir(lab: string, guest: string, environment: Environment = process.env): string {
  return join(labDir(lab, environment), 'guests', shortName(guest));
}

/**
 * The path of a socket `name` in `dir`. Throws RUNTIME_PATH_TOO_LONG where the kernel's limit of 107 bytes
 * (unix(7)) is exceeded, before QEMU or the kernel would say so in fewer words.
 */
export function socketPath(dir: string, name: string): string {
  const path = join(dir, name);
  const length = Buffer.byteLength(path);
  if (length > longestSocketPath) {
    throw new TapyardError(
      'RUNTIME_PATH_TOO_LONG',
      `The socket path ${path} has ${length} bytes; the kernel allows ${longestSocketPath}.`,
      { hint: 'Set XDG_RUNTIME_DIR to a shorter directory of yours with mode 0700.', subject: path },
    );
  }
  return path;
}

/**
 * A path, undefined where root would write into another user's directory (sudo may keep HOME): the user could have
 * put a link there that leads root elsewhere, and could not remove what root leaves.
 */
function notAnothers(path: string | undefined): string | undefined {
  if (path === undefined || ownUid() !== 0) return path;
  let place = path;
  while (statOf(place) === undefined && place !== dirname(place)) place = dirname(place);
  return (statOf(place)?.uid ?? 0) === 0 ? path : undefined;
}

/** The home directory of the user database, where it has one. */
function ownHome(): string {
  try {
    return userInfo().homedir;
  } catch {
    // A uid without a name.
    return homedir();
  }
}

function xdg(environment: Environment, variable: string, fallback: string): string {
  const home = notAnothers(absolute(environment['HOME'])) ?? ownHome();
  return join(notAnothers(absolute(environment[variable])) ?? join(home, fallback), 'tapyard');
}

/** Labs, disks and keys: `$XDG_DATA_HOME/tapyard`. Not made here, as the two below. */
export function dataDir(environment: Environment = process.env): string {
  return xdg(environment, 'XDG_DATA_HOME', '.local/share');
}

/** Logs and journals: `$XDG_STATE_HOME/tapyard`. */
export function stateDir(environment: Environment = process.env): string {
  return xdg(environment, 'XDG_STATE_HOME', '.local/state');
}

/** What can be had again: `$XDG_CACHE_HOME/tapyard`. */
export function cacheDir(environment: Environment = process.env): string {
  return xdg(environment, 'XDG_CACHE_HOME', '.cache');
}
