// SPDX-License-Identifier: Apache-2.0
import { existsSync, lstatSync, readlinkSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { isProgram } from './programs.ts';

/** What matters of a file or directory on the way to a program. */
export interface PathStep {
  readonly uid: number;
  readonly mode: number;
  readonly kind: 'directory' | 'link' | 'file';
}

/**
 * Why somebody other than root can put another file in the place of `path`, or write to it: netd's own rule for
 * where a helper with file capabilities may lie (`native/netd/src/confine/path.rs`). undefined where nobody can;
 * then what is there stays what it is until root changes it.
 */
export function unsafePath(path: string, look: (path: string) => PathStep = step): string | undefined {
  const way = [path];
  for (let at = path; at !== dirname(at); at = dirname(at)) way.unshift(dirname(at));
  for (const place of way) {
    let fault: string | undefined;
    try {
      fault = faultOf(look(place));
    } catch (thrown) {
      fault = `cannot be looked at (${thrown instanceof Error ? thrown.message : String(thrown)})`;
    }
    if (fault !== undefined) return `${place} ${fault}`;
  }
  return undefined;
}

function faultOf({ uid, mode, kind }: PathStep): string | undefined {
  // In a sticky directory nobody replaces what belongs to another, and the next step's owner is looked at too.
  const sticky = kind === 'directory' && (mode & 0o1000) !== 0;
  if (uid !== 0) return 'belongs to somebody else than root';
  if (kind === 'link') return 'is a symbolic link';
  if ((mode & 0o002) !== 0 && !sticky) return 'can be written by everybody';
  if ((mode & 0o020) !== 0 && !sticky) return 'can be written by a group';
  return undefined;
}

function step(path: string): PathStep {
  const stats = lstatSync(path);
  const kind = stats.isDirectory() ? 'directory' : stats.isSymbolicLink() ? 'link' : 'file';
  return { uid: stats.uid, mode: stats.mode, kind };
}

/** Directories of the system's programs; where two are one (merged /usr) the second is a link and is passed over. */
const programDirectories = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];
/** A link to a link is usual (alternatives), more than a few are not. */
const longestChain = 4;

/**
 * The absolute path of one of the system's programs, for running it as root: never by the user's PATH, and only
 * where nobody but root can change it or what it is a link to. undefined where there is none such.
 */
export function rootsProgram(name: string): string | undefined {
  return programDirectories.map((directory) => join(directory, name)).find(isRootsProgram);
}

function isRootsProgram(path: string): boolean {
  let at = path;
  for (let links = 0; links <= longestChain; links++) {
    if (unsafePath(dirname(at)) !== undefined || !existsSync(at)) return false;
    if (!lstatSync(at).isSymbolicLink()) return isProgram(at) && unsafePath(at) === undefined;
    at = resolve(dirname(at), readlinkSync(at));
  }
  return false;
}
