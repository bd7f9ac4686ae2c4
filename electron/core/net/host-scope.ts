// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs';
import { TapyardError } from '../../contract/error.ts';
import { pkexecRefused } from '../host/pkexec.ts';
import { shellWord } from '../lab/shell-quote.ts';
import {
  findProgram,
  installedDirectory,
  installedNetd,
  isProgram,
  ownPolicy,
  ownProgram,
} from '../host/programs.ts';

/** Our polkit policy, without which pkexec would ask for a program that it has never heard of. */
const policy = '/usr/share/polkit-1/actions/dev.tapyard.Tapyard.policy';
/** The program that the policy is for (`org.freedesktop.policykit.exec.path`). */
const policyNetd = `${installedDirectory}/tapyard-netd`;

/** What is said before polkit's dialogue comes, which itself says little more than that a password is wanted. */
const beforePolkit = `The host scope makes bridges and firewall rules on this computer, which takes CAP_NET_ADMIN: polkit asks you now for the password that starts ${policyNetd}. Closed, nothing changes.`;

/** The file capabilities of the installed netd, as setcap(8) takes them. */
export const netdCapabilities = 'cap_net_admin,cap_net_raw,cap_net_bind_service+ep';
/** The group that the commands printed here make, and let run the installed netd. */
export const netdGroup = 'tapyard';

/** A way to start netd with the privilege that the host scope needs. */
export interface HostScopeWay {
  readonly kind: 'root' | 'group' | 'polkit';
  /** What is executed, before netd's own options. */
  readonly command: readonly string[];
  /** How long it may take, ms: a password may have to be typed. */
  readonly patience: number;
  /** What the user is asked on this way, and why, told before; undefined where nobody is asked. */
  readonly asks?: string;
}

/** What of this computer decides the way. */
export interface HostScopeGround {
  readonly root: boolean;
  readonly isProgram: (path: string) => boolean;
  readonly exists: (path: string) => boolean;
  readonly find: (name: string) => string | undefined;
  /** The netd of this copy of Tapyard. */
  readonly own: () => string;
  /** The polkit policy of this copy of Tapyard, where it has one beside the installed. */
  readonly ownPolicy: () => string | undefined;
}

export const thisComputer = (): HostScopeGround => ({
  root: process.getuid?.() === 0,
  isProgram,
  exists: existsSync,
  find: (name) => findProgram(name),
  own: () => ownProgram('tapyard-netd'),
  ownPolicy,
});

/**
 * The ways that are open, best first: root needs none of them; a netd with file capabilities that this user's group
 * may run asks nobody (as Wireshark's dumpcap); polkit asks once. sudo is the user's to call: see
 * {@link hostScopeDenied}.
 */
export function hostScopeWays(ground: HostScopeGround = thisComputer()): HostScopeWay[] {
  if (ground.root) return [{ kind: 'root', command: [ground.own()], patience: 20_000 }];
  const ways: HostScopeWay[] = [];
  if (ground.isProgram(installedNetd))
    ways.push({ kind: 'group', command: [installedNetd], patience: 20_000 });
  const pkexec = ground.find('pkexec');
  if (pkexec !== undefined && polkitLacks(ground).length === 0)
    ways.push({ kind: 'polkit', command: [pkexec, policyNetd], patience: 180_000, asks: beforePolkit });
  return ways;
}

/** Something that the way through polkit needs and this computer has not, and the command that brings it. */
interface Lack {
  readonly what: string;
  readonly fix: string;
}

/** What keeps polkit from being asked; empty where it can be. */
export function polkitLacks(ground: HostScopeGround = thisComputer()): Lack[] {
  const lacks: Lack[] = [];
  if (ground.find('pkexec') === undefined)
    lacks.push({
      what: 'pkexec is not installed',
      fix: 'sudo apt install pkexec   # elsewhere the package is polkit',
    });
  if (!ground.exists(policy)) {
    const own = ground.ownPolicy();
    lacks.push({
      what: `${policy} is missing`,
      fix:
        own === undefined
          ? '# the policy comes with the package of Tapyard: install that again'
          : `sudo install -D -m 0644 ${shellWord(own)} ${policy}`,
    });
  }
  if (!ground.isProgram(policyNetd))
    lacks.push({
      what: `${policyNetd} is missing`,
      fix: `sudo install -D -m 0755 ${shellWord(ownNetd(ground))} ${policyNetd}`,
    });
  return lacks;
}

/** What pkexec meant by ending without netd's having said a word; undefined where it was something else. */
export function pkexecRefusal(status: number | null, words: string): TapyardError | undefined {
  switch (pkexecRefused(status, words)) {
    case 'dismissed':
      return new TapyardError('HOST_SCOPE_DISMISSED', 'The question for the host scope was closed.', {
        hint: 'Nothing was changed. Try again when you want, or use the private scope, which asks nothing: tapyard scope private',
        subject: policyNetd,
      });
    case 'no-polkit':
      return new TapyardError('HOST_SCOPE_DENIED', 'pkexec is installed, but polkit does not answer it.', {
        hint: `See whether it runs (systemctl status polkit), or let sudo ask:\n${onceHint(policyNetd)}`,
        subject: policyNetd,
      });
    case 'nobody':
      return new TapyardError(
        'HOST_SCOPE_DENIED',
        'Nobody could be asked for the host scope: no polkit agent runs in this session.',
        {
          hint: `Start Tapyard from your desktop, or let sudo ask:\n${onceHint(policyNetd)}`,
          subject: policyNetd,
        },
      );
    case 'denied':
      return new TapyardError(
        'HOST_SCOPE_DENIED',
        'polkit does not allow you the host scope (dev.tapyard.Tapyard.network).',
        {
          hint: 'An administrator can allow it, or let a group run the network helper: tapyard check prints how.',
          subject: policyNetd,
        },
      );
    case undefined:
      return undefined;
  }
}

/** That there is no way, with those that an administrator can make. `dir` is netd's directory. */
export function hostScopeDenied(
  dir: string,
  why?: string,
  ground: HostScopeGround = thisComputer(),
): TapyardError {
  const stranger = ground.exists(installedNetd) && !ground.isProgram(installedNetd);
  const cause =
    why ??
    `The host scope changes the network of this computer, which needs CAP_NET_ADMIN, and ${
      stranger
        ? `the network helper that has it is not yours to run: you are not in its group, have not logged in again since, or the group may not run it (stat -c "%A %G" ${installedNetd}).`
        : 'you may not do that yet.'
    }`;
  const lacks = polkitLacks(ground).map(({ what }) => what);
  const unasked = lacks.length === 0 ? '' : ` polkit could not ask you: ${lacks.join(', ')}.`;
  return new TapyardError('HOST_SCOPE_DENIED', `${cause}${unasked}`, {
    hint: hostScopeHint(dir, ground),
    subject: installedNetd,
  });
}

/** The ways to the host scope, as commands that an administrator can paste. */
function hostScopeHint(dir: string, ground: HostScopeGround): string {
  const fixes = polkitLacks(ground).map(({ fix }) => fix);
  return [
    'The private scope needs no privilege: --scope private; a lab that was set to the host scope goes back with: tapyard scope private.',
    'For the host scope let one group run the network helper:',
    groupCommands(ground),
    ...(fixes.length === 0 ? [] : ['Or let polkit ask for a password; what it lacks:', ...fixes]),
    'Or start it once, until the lab is down; it becomes yours and keeps three capabilities:',
    onceHint(ownNetd(ground), dir),
  ].join('\n');
}

/** What lets a group run netd, and the user into the group. */
export const groupCommands = (ground: HostScopeGround = thisComputer()): string =>
  [
    `sudo groupadd -f ${netdGroup}`,
    `sudo install -D -o root -g ${netdGroup} -m 0750 ${shellWord(ownNetd(ground))} ${installedNetd}`,
    `sudo setcap ${netdCapabilities} ${installedNetd}`,
    `sudo usermod -aG ${netdGroup} "$USER"   # then log in again`,
  ].join('\n');

function ownNetd(ground: HostScopeGround): string {
  try {
    return ground.own();
  } catch {
    return 'tapyard-netd';
  }
}

/** One command, which leaves the core and QEMU to the user. */
function onceHint(netd: string, dir?: string): string {
  const where = dir === undefined ? '"$XDG_RUNTIME_DIR/tapyard/netd-host"' : shellWord(dir);
  return `mkdir -p -m 0700 ${where} && sudo -b ${shellWord(netd)} --scope host --dir ${where}`;
}
