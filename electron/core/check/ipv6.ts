// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs';
import { ownDefaultDevice6 } from '../net/default-route.ts';
import { type Check, type Finding, ok } from './check.ts';

/** What becomes of IPv6 that guests send out of a lab. */
export function ipv6Finding(device: string | null, forwardsOne: boolean): Finding {
  if (device === null)
    return ok('no IPv6 default route on this computer: IPv6 of labs stays within them (NO_IPV6_ROUTE).');
  if (!forwardsOne)
    return ok(
      `by ${device}, in both scopes, for networks with ipv6. In the host scope all of this computer forwards IPv6 while such a lab is up, because this kernel cannot for one interface alone, which Linux 6.17 can; what is not a lab’s is dropped.`,
    );
  return ok(`by ${device}, in both scopes, for networks with ipv6.`);
}

/** Nothing that a lab needs. */
export const ipv6: Check = {
  id: 'ipv6',
  title: 'IPv6 out of labs',
  look() {
    return ipv6Finding(ownDefaultDevice6(), existsSync('/proc/sys/net/ipv6/conf/default/force_forwarding'));
  },
};
