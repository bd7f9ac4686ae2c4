// SPDX-License-Identifier: Apache-2.0
import { FirewalldPlace } from './firewalld-place.ts';
import { mountedBy } from './mounted-place.ts';
import type { World } from './world.ts';

/** Where set-up unpacked it (scripts/setup/newer-debian.mjs). */
const packages = '.cache/debian-13/root';

/** Where its pasta is, with the libc that this wants. */
export const newerPasta = '.cache/debian-13/passt';

/** A root directory of Debian 13, with its libvirt and its firewalld, on the host of a world. */
export class Debian13 extends FirewalldPlace {
  static async start(world: World): Promise<Debian13> {
    return new Debian13(world, await mountedBy(world, 'debian-13.sh', packages));
  }

  /** libvirtd, with the driver of networks alone. */
  libvirt(): Promise<() => Promise<void>> {
    return this.daemon('libvirtd', 'virsh -q -c network:///system net-list');
  }

  virsh(command: string): Promise<string> {
    return this.sh(`virsh -q -c network:///system ${command}`);
  }
}
