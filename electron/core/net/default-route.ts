// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { parseRoutes } from './route-table.ts';

/**
 * The interface of the IPv4 default route with the lowest metric in /proc/net/route's text (proc(5)); null
 * where there is none.
 */
export function defaultDevice(table: string): string | null {
  const flagUp = 1;
  const [best] = parseRoutes(table)
    .filter(({ destination, mask, flags }) => /^0+$/.test(destination + mask) && (flags & flagUp) !== 0)
    .sort((one, other) => one.metric - other.metric);
  return best?.device ?? null;
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
    .filter(([destination = '', prefix, , , , metric = '', , , , device = 'lo']) => {
      const isDefault = /^0{32}$/.test(destination) && prefix === '00';
      return isDefault && /^[0-9a-f]{8}$/.test(metric) && device !== 'lo';
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
