// SPDX-License-Identifier: Apache-2.0

/** A subnet as numbers; addresses are unsigned 32-bit in host order. */
export interface Subnet {
  readonly network: number;
  readonly broadcast: number;
  readonly prefix: number;
}

/** The number of a dotted IPv4 address that {@link Ipv4} of the contract has accepted. */
export function ipv4(text: string): number {
  return text.split('.').reduce((number, octet) => number * 256 + Number(octet), 0);
}

/** Dotted decimal. */
export function formatIpv4(number: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join('.');
}

/** The subnet that `address/prefix` lies in; host bits are dropped. */
export function subnetOf(cidr: string): Subnet {
  const [address = '0.0.0.0', prefixText = '32'] = cidr.split('/');
  const prefix = Number(prefixText);
  const size = 2 ** (32 - prefix);
  const network = Math.floor(ipv4(address) / size) * size;
  return { network, broadcast: network + size - 1, prefix };
}

/** `192.168.57.0/24` */
export function formatSubnet(subnet: Subnet): string {
  return `${formatIpv4(subnet.network)}/${subnet.prefix}`;
}

export function contains(subnet: Subnet, address: number): boolean {
  return address >= subnet.network && address <= subnet.broadcast;
}

/** Whether the address can be a host's: inside, and neither the network's nor the broadcast address. */
export function isHostAddress(subnet: Subnet, address: number): boolean {
  return address > subnet.network && address < subnet.broadcast;
}

export function overlap(one: Subnet, other: Subnet): boolean {
  return one.network <= other.broadcast && other.network <= one.broadcast;
}

/** `192.168.57.1 to 192.168.57.254` for messages. */
export function hostRange(subnet: Subnet): string {
  return `${formatIpv4(subnet.network + 1)} to ${formatIpv4(subnet.broadcast - 1)}`;
}
