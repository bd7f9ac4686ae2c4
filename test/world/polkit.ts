// SPDX-License-Identifier: Apache-2.0
import { appendFileSync } from 'node:fs';
import path from 'node:path';
import { checkoutInside, firstWords, netdInside, type World } from './world.ts';

/** Where a package puts the network helper. */
export const installed = '/usr/libexec/tapyard/host/tapyard-netd';
/** Its capabilities, as getcap(8) tells them. */
export const names = 'cap_net_bind_service,cap_net_admin,cap_net_raw';
/** What mends the helper, as root. */
export const commands = {
  setcap: `/usr/sbin/setcap cap_net_admin,cap_net_raw,cap_net_bind_service+ep ${installed}`,
  chgrp: `/usr/bin/chgrp tapyard ${installed}`,
  chmod: `/usr/bin/chmod 0750 ${installed}`,
};

/** The group `tapyard` of the world. */
const group = 4711;

/** Our polkit policy, and the program that it is for, as a package has them. */
export const policy = '/usr/share/polkit-1/actions/dev.tapyard.Tapyard.policy';
export const policyNetd = '/usr/libexec/tapyard/tapyard-netd';

/** Lets run what is mended with, word for word: not while /run/refuse is there, and unasked while /run/allow is. */
const rule = `polkit.addRule(function (action, subject) {
  function is(name) {
    try { polkit.spawn(["/usr/bin/test", "-e", "/run/" + name]); return true; } catch (error) { return false; }
  }
  var commands = ${JSON.stringify(Object.values(commands))};
  if (commands.indexOf(action.lookup("command_line")) < 0 || is("refuse")) return polkit.Result.NO;
  if (is("allow")) return polkit.Result.YES;
});`;

/**
 * A mount namespace of a world with a /usr/libexec of its own for the installed helper, and with a system bus and a
 * polkit of its own, which knows our policy and the real pkexec asks.
 */
export class PolkitSystem {
  readonly #world: World;
  readonly #pid: number;

  private constructor(world: World, pid: number) {
    this.#world = world;
    this.#pid = pid;
  }

  static async start(world: World): Promise<PolkitSystem> {
    appendFileSync(path.join(world.dir, 'etc/group'), `tapyard:x:${group}:tester\n`);
    const script = `set -eu
      for dir in /usr/libexec /run /etc/polkit-1; do mount -t tmpfs -o mode=755 none $dir; done
      mkdir -p /run/dbus /run/bin /etc/polkit-1/rules.d
      printf '%s\\n' '${rule}' > /etc/polkit-1/rules.d/50-test.rules
      cp -r /usr/share/polkit-1/actions /run/actions
      mount --bind /run/actions /usr/share/polkit-1/actions
      cp ${checkoutInside}/assets/polkit/dev.tapyard.Tapyard.policy ${policy}
      printf '#!/bin/sh\\nexec pkexec "$@"\\n' > /run/bin/sudo
      chmod 755 /run/bin/sudo
      dbus-daemon --system --nofork --nopidfile --nosyslog &
      for i in $(seq 600); do [ -S /run/dbus/system_bus_socket ] && break; sleep 0.1; done
      $(ls /usr/lib/polkit-1/polkitd /usr/libexec/polkitd 2>/dev/null | head -n 1) --no-debug &
      # Root is always allowed: that it says so is that it is there.
      for i in $(seq 600); do
        pkcheck --action-id org.freedesktop.policykit.exec --process $$ 2>/dev/null && break; sleep 0.1
      done
      echo ready
      wait`;
    const child = world.start(['sh', '-c', script], { as: 'root' });
    await firstWords(child, 'the system');
    return new PolkitSystem(world, child.pid ?? 0);
  }

  #inside(command: readonly string[]): string[] {
    return ['nsenter', '-t', String(this.#pid), '-m', ...command];
  }

  /** A command there of the user's, who is in the group; to be run as root, who becomes the user. */
  asUser(command: readonly string[]): string[] {
    return this.#inside([
      'env',
      `HOME=${this.#world.home('user')}`,
      `XDG_RUNTIME_DIR=${this.#world.runtimeDir('user')}`,
      'USER=tester',
      'PATH=/run/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'setpriv',
      `--reuid=${this.#world.uid}`,
      `--regid=${this.#world.uid}`,
      `--groups=${group}`,
      '--',
      ...command,
    ]);
  }

  /** Runs a script of root's there. */
  root(script: string): Promise<string> {
    return this.#world.must(this.#inside(['sh', '-euc', script]), { as: 'root' });
  }

  /** Installs the helper as an administrator would. */
  async install(): Promise<void> {
    await this.root(`rm -rf /usr/libexec/tapyard
      install -D -o root -g tapyard -m 0750 ${netdInside} ${installed}; ${commands.setcap}`);
  }

  /** Group, mode and capabilities of the installed helper. */
  async kept(): Promise<string[]> {
    return (await this.root(`stat -c '%G %a' ${installed}; getcap ${installed}`)).trim().split('\n');
  }
}
