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
