// SPDX-License-Identifier: Apache-2.0
import { formatIpv4, ipv4, subnetOf } from '../net/ipv4.ts';
import type { OwnNetwork } from './resolve.ts';

/** Who made an entry, as netd marks its own: docs/netd-protocol.md, "Proxy ARP". */
const protocol = 116;

/** The addresses that a guest of a network can have, in order. */
function addressesOf({ subnet, address, dhcp }: OwnNetwork): number[] {
  const { network, broadcast } = subnetOf(subnet);
  const [first, last] = dhcp ? [ipv4(dhcp.from), ipv4(dhcp.to)] : [network + 1, broadcast - 1];
  const all = new Set(dhcp?.reservations.map((reservation) => ipv4(reservation.address)));
  for (let each = first; each <= last; each++) all.add(each);
  all.delete(ipv4(address));
  return [...all].toSorted((a, b) => a - b);
}

/** Runs of numbers that follow one another. */
function runsOf(numbers: readonly number[]): [number, number][] {
  const runs: [number, number][] = [];
  for (const each of numbers) {
    const last = runs.at(-1);
    if (last && last[1] === each - 1) last[1] = each;
    else runs.push([each, each]);
  }
  return runs;
}

/** What lets an interface answer the LAN's ARP for a network's guests, or no more: a line for each run of addresses. */
export function proxyCommand(network: OwnNetwork, device: string, verb: 'add' | 'del'): string {
  const command = (address: string): string =>
    `ip neigh ${verb} proxy ${address} dev ${device}${verb === 'add' ? ` protocol ${protocol}` : ''}`;
  // A subnet has 256 addresses at most, so those of a run differ in the last byte alone.
  const lines = runsOf(addressesOf(network)).map(([first, last]) =>
    first === last
      ? command(formatIpv4(first))
      : `for n in $(seq ${first % 256} ${last % 256}); do ${command(formatIpv4(first).replace(/[0-9]+$/, '$$n'))}; done`,
  );
  return lines.join('\n');
}
