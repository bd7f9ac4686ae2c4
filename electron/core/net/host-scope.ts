// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs';
import { TapyardError } from '../../contract/error.ts';
import { shellWord } from '../lab/shell-quote.ts';
import { findProgram, installedDirectory, installedNetd, isProgram, ownProgram } from '../host/programs.ts';

/** Our polkit policy, without which pkexec would ask for a program that it has never heard of. */
const policy = '/usr/share/polkit-1/actions/dev.tapyard.Tapyard.policy';
/** The program that the policy is for (`org.freedesktop.policykit.exec.path`). */
const policyNetd = `${installedDirectory}/tapyard-netd`;

/** A way to start netd with the privilege that the host scope needs. */
export interface HostScopeWay {
  readonly kind: 'root' | 'group' | 'polkit';
  /** What is executed, before netd's own options. */
  readonly command: readonly string[];
  /** How long it may take, ms: a password may have to be typed. */
  readonly patience: number;
}

/** What of this computer decides the way. */
export interface HostScopeGround {
  readonly root: boolean;
  readonly isProgram: (path: string) => boolean;
  readonly exists: (path: string) => boolean;
  readonly find: (name: string) => string | undefined;
  /** The netd of this copy of Tapyard. */
  readonly own: () => string;
}

const thisComputer = (): HostScopeGround => ({
  root: process.getuid?.() === 0,
  isProgram,
  exists: existsSync,
  find: (name) => findProgram(name),
  own: () => ownProgram('tapyard-netd'),
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
  if (pkexec !== undefined && ground.exists(policy) && ground.isProgram(policyNetd))
    ways.push({ kind: 'polkit', command: [pkexec, policyNetd], patience: 180_000 });
  return ways;
}

/**
 * What pkexec's exit status says where netd has said nothing (pkexec(1)): 126, the question was closed; 127, not
 * allowed, or nobody was there to be asked. undefined where it was something else.
 */
export function pkexecRefusal(status: number | null, words: string): TapyardError | undefined {
  if (status === 126)
    return new TapyardError('HOST_SCOPE_DISMISSED', 'The question for the host scope was closed.', {
      hint: 'Nothing was changed. Try again when you want, or use the private scope, which asks nothing: tapyard scope private',
      subject: policyNetd,
    });
  if (status !== 127) return undefined;
  const nobody = /agent/i.test(words);
  return new TapyardError(
    'HOST_SCOPE_DENIED',
    nobody
      ? 'Nobody could be asked for the host scope: no polkit agent runs in this session.'
      : 'polkit does not allow you the host scope (dev.tapyard.Tapyard.network).',
    {
      hint: nobody
        ? `Start Tapyard from your desktop, or let sudo ask:\n${onceHint(policyNetd)}`
        : 'An administrator can allow it, or let a group run the network helper: tapyard check prints how.',
      subject: policyNetd,
    },
  );
}

/** That there is no way, with those that an administrator can make. `dir` is netd's directory. */
export function hostScopeDenied(dir: string, why?: string): TapyardError {
  return new TapyardError(
    'HOST_SCOPE_DENIED',
    why ??
      'The host scope changes the network of this computer, which needs CAP_NET_ADMIN, and you may not do that yet.',
    { hint: hostScopeHint(dir), subject: installedNetd },
  );
}

/** The ways to the host scope, as commands that an administrator can paste. */
function hostScopeHint(dir: string): string {
  let own: string;
  try {
    own = ownProgram('tapyard-netd');
  } catch {
    own = 'tapyard-netd';
  }
  return [
    'The private scope needs no privilege: --scope private; a lab that was set to the host scope goes back with: tapyard scope private.',
    'For the host scope let one group run the network helper:',
    'sudo groupadd -f tapyard',
    `sudo install -D -o root -g tapyard -m 0750 ${shellWord(own)} ${installedNetd}`,
    `sudo setcap cap_net_admin,cap_net_raw,cap_net_bind_service+ep ${installedNetd}`,
    'sudo usermod -aG tapyard "$USER"   # then log in again',
    'Or start it once, until the lab is down; it becomes yours and keeps three capabilities:',
    onceHint(own, dir),
  ].join('\n');
}

/** One command, which leaves the core and QEMU to the user. */
function onceHint(netd: string, dir?: string): string {
  const where = dir === undefined ? '"$XDG_RUNTIME_DIR/tapyard/netd-host"' : shellWord(dir);
  return `mkdir -p -m 0700 ${where} && sudo -b ${shellWord(netd)} --scope host --dir ${where}`;
}
