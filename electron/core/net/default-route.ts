// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';

/**
 * The interface of the IPv4 default route with the lowest metric in /proc/net/route's text (proc(5)); null
 * where there is none.
 */
export function defaultDevice(table: string): string | null {
  const flagUp = 1;
  const routes = table
    .split('\n')
    .slice(1)
    .map((line) => line.split('\t'))
    .filter(([, destination, , flags, , , , mask]) => {
      const up = (Number.parseInt(flags ?? '0', 16) & flagUp) !== 0;
      return destination === '00000000' && mask === '00000000' && up;
    })
    .map(([device = '', , , , , , metric]) => ({ device, metric: Number(metric) }));
  routes.sort((a, b) => a.metric - b.metric);
  return routes[0]?.device ?? null;
}

/** The interface by which this computer reaches the internet now; null where it does not. */
export function ownDefaultDevice(): string | null {
  try {
    return defaultDevice(readFileSync('/proc/net/route', 'utf8'));
  } catch {
    return null;
  }
}

/** The same of IPv6, from the text of /proc/net/ipv6_route. A route by `lo` is one that refuses. */
export function defaultDevice6(table: string): string | null {
  const [best] = table
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([destination = '', prefix, , , , , , , , device = 'lo']) => {
      return /^0{32}$/.test(destination) && prefix === '00' && device !== 'lo';
    })
    .sort((one, other) => Number.parseInt(one[5] ?? '', 16) - Number.parseInt(other[5] ?? '', 16));
  return best?.[9] ?? null;
}

/** The interface by which this computer reaches the internet by IPv6 now; null where it does not. */
export function ownDefaultDevice6(): string | null {
  try {
    return defaultDevice6(readFileSync('/proc/net/ipv6_route', 'utf8'));
  } catch {
    return null;
  }
}
