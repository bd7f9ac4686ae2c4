// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { isIPv4 } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { UsedSubnet } from './free-subnet.ts';
import { formatIpv4, subnetOf } from './ipv4.ts';
import { nameServers } from './name-servers.ts';
import { parseRoutes } from './route-table.ts';

/** The kernel prints the four bytes as one number of this machine's byte order, which is little-endian. */
const address = (hex: string): number => Buffer.from(hex, 'hex').readUInt32LE();

/** What is wider is nobody's subnet but a way out: a VPN takes it over by two routes, for half of it each. */
const widest = 8;

/** The subnets that /proc/net/route's text (proc(5)) leads to by itself, hence without ways out. */
export function routedSubnets(table: string): UsedSubnet[] {
  return parseRoutes(table).flatMap(({ device, destination, mask }) => {
    const prefix = 32 - Math.log2(2 ** 32 - address(mask));
    if (prefix < widest || !Number.isInteger(prefix)) return [];
    return [{ subnet: subnetOf(`${formatIpv4(address(destination))}/${prefix}`), by: device }];
  });
}

/** The name servers of resolv.conf(5) text: what lies beyond the way out, and all of this computer asks. */
export function nameServerSubnets(text: string): UsedSubnet[] {
  return nameServers(text).flatMap((server) =>
    isIPv4(server) ? [{ subnet: subnetOf(`${server}/32`), by: 'a name server in /etc/resolv.conf' }] : [],
  );
}

/**
 * What this computer's addresses and routes use: LAN, VPN, Docker, libvirt, labs of the host scope; and its
 * name servers.
 */
export function hostSubnets(): UsedSubnet[] {
  const addresses = Object.entries(networkInterfaces()).flatMap(([device, list]) =>
    (list ?? []).flatMap(({ family, cidr }) =>
      family === 'IPv4' && cidr !== null ? [{ subnet: subnetOf(cidr), by: device }] : [],
    ),
  );
  // No such file: no IPv4, hence no route of it; and no server.
  const routes = routedSubnets(textOf('/proc/net/route'));
  return [...addresses, ...routes, ...nameServerSubnets(textOf('/etc/resolv.conf'))];
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
