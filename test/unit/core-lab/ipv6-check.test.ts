// SPDX-License-Identifier: Apache-2.0
import { expect, it } from 'vitest';
import { ipv6Finding } from '../../../electron/core/check/ipv6.ts';
import { defaultDevice6 } from '../../../electron/core/net/default-route.ts';

const zeros = '0'.repeat(32);
const route = (destination: string, prefix: string, metric: string, device: string): string =>
  `${destination} ${prefix} ${zeros} 00 ${zeros} ${metric} 00000001 00000000 00000001 ${device}`;

it('finds the IPv6 default route of the lowest metric, and not the one that refuses', () => {
  const table = [
    route('20010db8000000000000000000000000', '40', '00000100', 'eth0'),
    route(zeros, '00', '00000400', 'wlan0'),
    route(zeros, '00', '00000064', 'eth0'),
    route(zeros, '00', 'ffffffff', 'lo'),
  ].join('\n');
  expect(defaultDevice6(table)).toBe('eth0');
  expect(defaultDevice6(route(zeros, '00', 'ffffffff', 'lo'))).toBeNull();
  expect(defaultDevice6('')).toBeNull();
});

it('says what becomes of IPv6, and what it takes', () => {
  expect(ipv6Finding(null, true).found).toContain('NO_IPV6_ROUTE');
  expect(ipv6Finding('eth0', false).found).toContain('all of this computer forwards IPv6');
  expect(ipv6Finding('eth0', true).found).not.toContain('all of this computer');
});
