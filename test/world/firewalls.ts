// SPDX-License-Identifier: Apache-2.0
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { type Json, nftRules } from './kernel.ts';
import { finish, checkout, checkoutInside, until, type World } from './world.ts';

/** Where set-up unpacked the packages (scripts/setup/firewalls.mjs). */
const packages = '.cache/firewalls/root';

/**
 * ufw, firewalld, Docker, libvirt and iptables as their packages bring them, on the host of a world only: in a mount
 * namespace in which they lie over /usr, /etc and /var, with a /run and a system bus of its own.
 */
export class Firewalls {
  readonly #world: World;
  readonly #pid: string;

  private constructor(world: World, pid: string) {
    this.#world = world;
    this.#pid = pid;
  }

  /** `iptables` is what the command of that name is: the one over nf_tables or the old one. */
  static async start(world: World, iptables: 'nft' | 'legacy' = 'nft'): Promise<Firewalls> {
    if (!existsSync(path.join(checkout, packages))) {
      throw new Error(
        'The packages of other firewalls are not unpacked: npm test and npm run bench do it, or npm run setup -- --for test.',
      );
    }
    const script = `echo $$; exec ${checkoutInside}/test/world/firewalls.sh ${checkoutInside}/${packages} ${iptables}`;
    const child = world.start(['sh', '-c', script], { as: 'root' });
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => (said += text));
    await until('the firewalls are laid over the system', 10_000, () => {
      if (child.exitCode !== null) throw new Error(`firewalls.sh: ${said}`);
      return said.includes('ready');
    });
    return new Firewalls(world, said.split('\n')[0] ?? '');
  }

  /** The command as it is run on the host with the firewalls. */
  readonly inside = (command: readonly string[]): string[] => [
    'nsenter',
    '-t',
    this.#pid,
    '-m',
    '-n',
    '--',
    ...command,
  ];

  /** Runs a script beside the firewalls; throws when it fails. */
  sh(script: string): Promise<string> {
    return this.#world.must(this.inside(['sh', '-ec', script]), { as: 'root' });
  }

  /** Starts a program that stays, and answers how to end it (SIGTERM, as its service would be). */
  async daemon(command: string, ready: string): Promise<() => Promise<void>> {
    // The number in this process namespace is the one that the world's kill knows.
    const child = this.#world.start(this.inside(['sh', '-c', `exec ${command} 2>&1`]), { as: 'root' });
    let said = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (said += text));
    const ended = finish(child, command, { timeout: 300_000 });
    ended.catch(() => undefined);
    await until(`${command} is ready`, 20_000, async () => {
      if (child.exitCode !== null) throw new Error(`${command} ended: ${said}`);
      return (await this.#world.run(this.inside(['sh', '-c', ready]), { as: 'root' })).code === 0;
    });
    return async () => {
      child.kill('SIGTERM');
      if (child.exitCode === null) await once(child, 'exit');
    };
  }

  /** dockerd, which drops what it does not know once it has switched forwarding on. */
  docker(): Promise<() => Promise<void>> {
    const options = '--data-root /var/lib/docker --exec-root /run/docker --pidfile /run/docker.pid';
    return this.daemon(
      `dockerd ${options} -H unix:///run/docker.sock --storage-driver vfs`,
      'curl -s --unix-socket /run/docker.sock http://docker/_ping || busybox test -S /run/docker.sock',
    );
  }

  /** The system bus. */
  bus(): Promise<() => Promise<void>> {
    return this.daemon('dbus-daemon --system --nofork --nopidfile', 'test -S /run/dbus/system_bus_socket');
  }

  /** firewalld, which needs the bus. */
  firewalld(): Promise<() => Promise<void>> {
    return this.daemon('firewalld --nofork --nopid', 'firewall-cmd --state');
  }

  /** libvirtd, of whose drivers only the one of networks stays: there are no guests of its own. */
  async libvirt(): Promise<() => Promise<void>> {
    await this.sh(
      `find /usr/lib -path '*/libvirt/connection-driver/*' ! -name '*_network.so' -type f -exec rm {} +`,
    );
    return this.daemon('libvirtd', 'virsh -q -c network:///system net-list');
  }

  /** systemd-resolved, which needs the bus. */
  resolved(): Promise<() => Promise<void>> {
    return this.daemon('/lib/systemd/systemd-resolved', 'resolvectl status');
  }

  /** polkit, which needs the bus, with this rule of the administrator's. */
  async polkit(rule: string): Promise<() => Promise<void>> {
    await this.sh(
      `mkdir -p /etc/polkit-1/rules.d; printf '%s\\n' '${rule}' > /etc/polkit-1/rules.d/10-test.rules`,
    );
    return this.daemon(
      '$(ls /usr/lib/polkit-1/polkitd /usr/libexec/polkitd 2>/dev/null | head -n 1) --no-debug',
      'busctl --system status org.freedesktop.PolicyKit1',
    );
  }

  /** All rules of all back ends, without what counts packets, and which tables the old iptables has. */
  async rules(): Promise<{ nft: Json; legacy: string[] }> {
    const legacy = await this.sh(`cat /proc/net/ip_tables_names /proc/net/ip6_tables_names
      [ -z "$(cat /proc/net/ip_tables_names)" ] || iptables-legacy -S
      [ -z "$(cat /proc/net/ip6_tables_names)" ] || ip6tables-legacy -S`);
    return { nft: await nftRules(this.#world), legacy: legacy.split('\n').filter(Boolean) };
  }

  /** Everything below /etc/ufw with its content and times. */
  ufwFiles(): Promise<string> {
    return this.sh(
      `cd /etc && find ufw default/ufw -type f -exec stat -c '%n %Y %Z %s' {} + | sort; cd ufw && sha256sum *.rules *.conf`,
    );
  }
}
