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
