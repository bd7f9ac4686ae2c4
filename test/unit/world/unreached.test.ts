// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import { withoutUnreached } from '../../world/unreached.ts';

const object = (kind: string, name: string, more: object = {}): string =>
  JSON.stringify({ [kind]: { family: 'inet', table: 't', name, ...more } });
const base = object('chain', 'forward', { hook: 'forward' });
const key = (chain: string): string => JSON.stringify(['inet', 't', chain]);
const jump = { jump: { target: 'zone' } };

test('what no base chain leads to goes, with what only it needs; what else is there stays', () => {
  const zone = [object('chain', 'zone'), object('chain', 'zone_post'), object('ct helper', 'tftp')];
  const of = { [key('zone')]: [[{ jump: { target: 'zone_post' } }], [{ 'ct helper': 'tftp' }]] };
  const own = [object('chain', 'mine')];
  expect(withoutUnreached([[base, ...own, ...zone], { ...of, [key('mine')]: [[jump]] }], /^zone/)).toEqual([
    [base, ...own],
    { [key('mine')]: [[jump]] },
  ]);
});

test.each([
  ['a rule', [], [[jump]]],
  ['a verdict map', [], [[{ vmap: { key: { meta: { key: 'iifname' } }, data: { set: [['br0', jump]] } } }]]],
  ['a map with a name', [object('map', 'jumps', { elem: [['br0', jump]] })], []],
])('a chain to which %s leads stays', (_, others, rules) => {
  const listing = [
    [base, ...others, object('chain', 'zone')],
    { [key('forward')]: rules, [key('zone')]: [] },
  ];
  expect(withoutUnreached(listing, /^zone/)).toEqual(listing);
});
