// SPDX-License-Identifier: Apache-2.0
import { BlockList } from 'node:net';

/** Whether the subnet `address/prefix` has this address in it. */
function has(cidr: string, address: string): boolean {
  const [net = '', prefix = '128'] = cidr.split('/');
  const list = new BlockList();
  list.addSubnet(net, Number(prefix), 'ipv6');
  return list.check(address, 'ipv6');
}

/** Whether two IPv6 subnets have an address in common. */
export function overlap6(one: string, other: string): boolean {
  return has(one, other.split('/')[0] ?? '') || has(other, one.split('/')[0] ?? '');
}

/** The digits of some groups of four. */
const digits = (groups: string): string =>
  groups
    .split(':')
    .map((group) => (group === '' ? '' : group.padStart(4, '0')))
    .join('');

/** The 32 hexadecimal digits of an address. */
export function digitsOf(address: string): string {
  const [before = '', after = ''] = address.split('::').map(digits);
  return before.padEnd(32 - after.length, '0') + after;
}

/** The first and the last address of the subnet `address/prefix` as numbers, as nft writes them. */
export function rangeOf(cidr: string): string {
  const [net = '', prefix = '128'] = cidr.split('/');
  const first = BigInt(`0x${digitsOf(net)}`);
  const last = first | (2n ** BigInt(128 - Number(prefix)) - 1n);
  return [first, last].map((end) => `0x${end.toString(16).padStart(32, '0')}`).join('-');
}

/** The link-local address that the kernel makes of a MAC address (RFC 4291, appendix A). */
export function linkLocalOf(mac: string): string {
  const [a = '', b, c, d, e, f] = mac.split(':');
  const first = (Number.parseInt(a, 16) ^ 2).toString(16);
  return `fe80::${first}${b}:${c}ff:fe${d}:${e}${f}`;
}
