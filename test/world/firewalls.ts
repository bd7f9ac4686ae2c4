// SPDX-License-Identifier: Apache-2.0
import { FirewalldPlace } from './firewalld-place.ts';
import { mountedBy } from './mounted-place.ts';
import type { World } from './world.ts';

/** Where set-up unpacked the packages (scripts/setup/firewalls.mjs). */
const packages = '.cache/firewalls/root';

/**
 * ufw, firewalld, Docker, libvirt and iptables as their packages bring them, on the host of a world only: they lie
 * over /usr, /etc and /var, with a /run and a system bus of their own.
 */
export class Firewalls extends FirewalldPlace {
  /** `iptables` is what the command of that name is: the one over nf_tables or the old one. */
  static async start(world: World, iptables: 'nft' | 'legacy' = 'nft'): Promise<Firewalls> {
    return new Firewalls(world, await mountedBy(world, 'firewalls.sh', packages, iptables));
  }

  /** dockerd, which drops what it does not know once it has switched forwarding on. */
  docker(): Promise<() => Promise<void>> {
    const options = '--data-root /var/lib/docker --exec-root /run/docker --pidfile /run/docker.pid';
    // It has a socket at once, and answers there when its rules are made.
    return this.daemon(
      `dockerd ${options} -H unix:///run/docker.sock --storage-driver vfs`,
      'timeout 5 docker -H unix:///run/docker.sock version',
    );
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

  /** Everything below /etc/ufw with its content and times. */
  ufwFiles(): Promise<string> {
    return this.sh(
      `cd /etc && find ufw default/ufw -type f -exec stat -c '%n %Y %Z %s' {} + | sort; cd ufw && sha256sum *.rules *.conf`,
    );
  }
}
