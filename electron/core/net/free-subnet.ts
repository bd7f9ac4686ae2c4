// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { formatSubnet, overlap, type Subnet, subnetOf } from './ipv4.ts';

/** A subnet that is in use, and whose it is, for people. */
export interface UsedSubnet {
  readonly subnet: Subnet;
  readonly by: string;
}

/** Where a subnet is looked for, a /24 after the other: most room first, then what LANs and Docker like better. */
const spaces = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'].map(subnetOf);

/** libvirt's default network, also where libvirt is not there yet. */
const never: UsedSubnet = { subnet: subnetOf('192.168.122.0/24'), by: 'libvirt' };

/** Of a /24. */
const size = 256;

/**
 * A free /24. The names decide where the search begins, so the same network begins at the same place on every
 * computer; the next free one follows. The first where all is taken: whoever uses it will say so.
 */
export function freeSubnet(names: readonly string[], used: readonly UsedSubnet[]): string {
  const all = [...used, never];
  const number = createHash('sha256').update(JSON.stringify(names)).digest().readUInt32BE();
  for (const space of spaces) {
    const count = (space.broadcast + 1 - space.network) / size;
    for (let step = 0; step < count; step++) {
      const network = space.network + ((number + step) % count) * size;
      const subnet = { network, broadcast: network + size - 1, prefix: 24 };
      const taken = all.find((other) => overlap(other.subnet, subnet));
      if (!taken) return formatSubnet(subnet);
      // A space that somebody routes as a whole (a VPN's 10.0.0.0/8) has nothing free.
      if (taken.subnet.network <= space.network && taken.subnet.broadcast >= space.broadcast) break;
    }
  }
  return formatSubnet({ network: subnetOf('10.0.0.0/24').network, broadcast: 0, prefix: 24 });
}

/** The first of those in use that a subnet overlaps. */
export function overlapping(cidr: string, used: readonly UsedSubnet[]): UsedSubnet | undefined {
  const subnet = subnetOf(cidr);
  return used.find((other) => overlap(other.subnet, subnet));
}
