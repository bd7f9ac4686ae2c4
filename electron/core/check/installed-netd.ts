// SPDX-License-Identifier: Apache-2.0
import { lstatSync, readFileSync } from 'node:fs';
import { getegid, getgroups } from 'node:process';
import { installedNetd } from '../host/programs.ts';
import { rootsProgram, unsafePath } from '../host/safe-path.ts';
import { netdCapabilities, netdGroup } from '../net/host-scope.ts';
import type { Command } from './check.ts';

/** What is known of the netd that an administrator installed for a group, and of who asks. */
export interface InstalledNetd {
  readonly gid: number;
  /** The permission bits. */
  readonly mode: number;
  /** Why others than root could change it, in words; undefined where nobody can. */
  readonly unsafe: string | undefined;
  /** The groups of this user. */
  readonly groups: readonly number[];
  /** The number of the group `tapyard`; undefined where there is none. */
  readonly tapyard: number | undefined;
  /** The system's program of a name, which only root can change. */
  readonly program: (name: string) => string | undefined;
}

/** undefined where none is installed. */
export function installedNow(): InstalledNetd | undefined {
  try {
    const { gid, mode, nlink } = lstatSync(installedNetd);
    const hardLink = nlink === 1 ? undefined : `${installedNetd} has another name (a hard link)`;
    return {
      gid,
      mode: mode & 0o7777,
      unsafe: unsafePath(installedNetd) ?? hardLink,
      groups: [getegid?.() ?? -1, ...(getgroups?.() ?? [])],
      tapyard: groupNumber(readFileSync('/etc/group', 'utf8'), netdGroup),
      program: rootsProgram,
    };
  } catch {
    return undefined;
  }
}

/** The number of a group in the text of /etc/group. */
export function groupNumber(text: string, name: string): number | undefined {
  const fields = text.split('\n').map((line) => line.split(':'));
  const number = fields.find(([group]) => group === name)?.[2];
  return number !== undefined && /^\d{1,10}$/.test(number) ? Number(number) : undefined;
}

/** Whether a group may run it, and nobody else but root: what gives its capabilities to that group alone. */
export const isForGroup = ({ gid, mode }: InstalledNetd): boolean => gid !== 0 && (mode & 0o7017) === 0o010;

/**
 * What gives the installed netd back what it has lost: its group, its mode, its capabilities, in this order, so
 * that nobody else has them for a moment (chgrp would also take them away again). Only where that grants nobody
 * anything new: the group that it goes to is the one that it has, or else `tapyard`, and this user is in it.
 */
export function givenBack(netd: InstalledNetd): readonly Command[] | undefined {
  const group = netd.gid === 0 ? netd.tapyard : netd.gid;
  if (netd.unsafe !== undefined || group === undefined || !netd.groups.includes(group)) return undefined;
  const [chgrp, chmod, setcap] = ['chgrp', 'chmod', 'setcap'].map((name) => netd.program(name));
  if (chgrp === undefined || chmod === undefined || setcap === undefined) return undefined;
  return [
    ...(netd.gid === 0 ? [[chgrp, netdGroup, installedNetd] as const] : []),
    ...(isForGroup({ ...netd, gid: group }) ? [] : [[chmod, '0750', installedNetd] as const]),
    [setcap, netdCapabilities, installedNetd],
  ];
}
