// SPDX-License-Identifier: Apache-2.0

/** A line of /proc/net/route (proc(5)). */
export interface Route {
  readonly device: string;
  /** Eight hex digits, in this computer's byte order. */
  readonly destination: string;
  readonly mask: string;
  readonly flags: number;
  readonly metric: number;
}

/** Interface, destination, gateway, flags, references, uses, metric, mask. */
const line =
  /^([^\s/:]+)\t([0-9A-F]{8})\t[0-9A-F]{8}\t([0-9A-F]{4})\t\d+\t\d+\t(-?\d{1,10})\t([0-9A-F]{8})\t/;

/** The IPv4 routes in /proc/net/route's text. Lines that are none are left out, as its head is. */
export function parseRoutes(table: string): Route[] {
  return table.split('\n').flatMap((text) => {
    const [, device, destination, flags, metric, mask] = line.exec(text) ?? [];
    if (device === undefined || destination === undefined || mask === undefined) return [];
    // The kernel prints the metric, which has 32 bits, with a sign.
    return [{ device, destination, mask, flags: Number(`0x${flags}`), metric: Number(metric) >>> 0 }];
  });
}
