// SPDX-License-Identifier: Apache-2.0
import { expect, it } from 'vitest';
import { digitsOf, linkLocalOf, overlap6, rangeOf } from '../../../electron/core/net/ipv6.ts';

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

it('writes an address out, and makes that of a link', () => {
  expect(digitsOf('fd12:3456::7')).toBe('fd123456000000000000000000000007');
  expect(digitsOf('1:2:3:4:5:6:7:8')).toBe('00010002000300040005000600070008');
  expect(digitsOf('::')).toBe('0'.repeat(32));
  expect(digitsOf(linkLocalOf('52:54:00:51:49:2f'))).toBe('fe80000000000000505400fffe51492f');
  expect(rangeOf('2000::/3')).toBe(`0x2${'0'.repeat(31)}-0x3${'f'.repeat(31)}`);
  expect(rangeOf('fd12::/64')).toBe(`0xfd12${'0'.repeat(28)}-0xfd12${'0'.repeat(12)}${'f'.repeat(16)}`);
});
