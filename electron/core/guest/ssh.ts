// SPDX-License-Identifier: Apache-2.0
import { shellCommand } from '../lab/shell-quote.ts';

/** What a login to a guest needs. Paths are absolute. */
export interface SshTarget {
  readonly guest: string;
  readonly lab: string;
  /** The guest's IPv4 address. */
  readonly address: string;
  /** The guest's image is the built-in one: root, with a new host key at each boot. */
  readonly micro: boolean;
  /** undefined: ssh's own choice. */
  readonly user: string | undefined;
  readonly privateKey: string;
  /** Host keys of the lab's guests. */
  readonly knownHosts: string;
  readonly netdSocket: string;
  /** The program tapyard-tap. */
  readonly tap: string;
}

/** The port of sshd. */
const sshPort = 22;

/**
 * The words after `ssh` (ssh_config(5)) that log in to a guest through `tapyard-tap dial`, and run `command` there
 * where it is not empty. Options come first, so that nothing of the user's own configuration wins over them.
 */
export function sshArgv(target: SshTarget, command: readonly string[]): string[] {
  const { guest, lab, micro } = target;
  // ssh gives it to the user's shell, after its own look for %h and the like.
  const dial = shellCommand([
    target.tap,
    'dial',
    '--netd',
    target.netdSocket,
    '--lab',
    lab,
    target.address,
    String(sshPort),
  ]).replaceAll('%', '%%');
  const options = [
    `ProxyCommand=${dial}`,
    // A shared connection is kept by host name: another lab's guest of the same name would answer.
    'ControlPath=none',
    'ControlMaster=no',
    'CheckHostIP=no',
    `HostKeyAlias=${guest}`,
    `IdentityFile=${quoted(target.privateKey)}`,
    'IdentitiesOnly=yes',
    'ConnectTimeout=20',
    ...(micro
      ? // "Permanently added" at each login says nothing where nothing is kept.
        ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR']
      : ['StrictHostKeyChecking=accept-new', `UserKnownHostsFile=${quoted(target.knownHosts)}`]),
  ];
  const user = target.user ?? (micro ? 'root' : undefined);
  return [
    ...options.flatMap((option) => ['-o', option]),
    ...(user === undefined ? [] : ['-l', user]),
    '--',
    guest,
    ...command,
  ];
}

/** A path as a value of ssh_config(5), which knows %-tokens, ${variables} and words. */
const quoted = (path: string): string => `"${path.replaceAll('%', '%%')}"`;
