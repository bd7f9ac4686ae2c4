// SPDX-License-Identifier: Apache-2.0
import { expect, it } from 'vitest';
import { overlap6 } from '../../../electron/core/net/ipv6.ts';

it.each([
  ['fd12:3456:789a:1::/64', 'fd12:3456:789a:1::7/64', true],
  ['fd12:3456:789a:1::/64', 'fd12:3456::1/32', true],
  ['fd12:3456::/32', 'fd12:3456:789a:1::/64', true],
  ['fd12:3456:789a:1::/64', 'fd12:3456:789a:2::1/64', false],
  ['fd12:3456:789a:1::/64', 'fe80::1/64', false],
  ['fd12:3456:789a:1::/64', 'fd12:3456:789a:1::7', true],
])('%s and %s have an address in common: %s', (one, other, expected) => {
  expect(overlap6(one, other)).toBe(expected);
});
