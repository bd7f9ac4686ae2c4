// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import { type Ask, cuts } from '../../bench/cuts.ts';

const asks = (answers: string): Ask[] =>
  answers.split('').flatMap((each, at) => (each === ' ' ? [] : [{ at, answered: each === '+' }]));

test('a guest is cut off from its last answered question to the next', () => {
  expect(cuts(asks('++--++-+'))).toEqual([
    { from: 1, to: 4 },
    { from: 5, to: 7 },
  ]);
  expect(cuts(asks('--+'))).toEqual([{ from: 0, to: 2 }]);
  expect(cuts(asks('+-'))).toEqual([{ from: 0, to: Infinity }]);
});

test('where nothing was asked, nobody was cut off', () => {
  expect(cuts(asks('++     ++'))).toEqual([]);
  expect(cuts([])).toEqual([]);
});
