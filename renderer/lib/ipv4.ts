// SPDX-License-Identifier: Apache-2.0
import ipaddr from 'ipaddr.js';

/** A subnet as numbers: its own address and its broadcast address. */
export interface Subnet {
  readonly first: number;
  readonly last: number;
}

/** An IPv4 address as a number; it must be one. */
export function addressNumber(address: string): number {
  return ipaddr.IPv4.parse(address)
    .toByteArray()
    .reduce((sum, octet) => sum * 256 + octet, 0);
}

/** The address of a number. */
export function addressText(number: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join('.');
}

/** The subnet of a CIDR such as `192.168.57.0/24`; null when it is none. */
export function parseSubnet(cidr: string): Subnet | null {
  if (!ipaddr.IPv4.isValidCIDR(cidr)) return null;
  return {
    first: addressNumber(ipaddr.IPv4.networkAddressFromCIDR(cidr).toString()),
    last: addressNumber(ipaddr.IPv4.broadcastAddressFromCIDR(cidr).toString()),
  };
}

/** Whether an address is in a subnet. */
export function inSubnet(number: number, subnet: Subnet): boolean {
  return number >= subnet.first && number <= subnet.last;
}
