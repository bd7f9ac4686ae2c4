// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import { byTurns, compared, median, percentile } from '../../bench/figures.ts';

test('the median of an even count lies between the two in the middle', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([])).toBeNaN();
});

test('a percentile is a value that was measured (nearest rank)', () => {
  const values = Array.from({ length: 400 }, (_, index) => index + 1);
  expect(percentile(values, 0.99)).toBe(396);
  expect(percentile([7], 0.95)).toBe(7);
});

test('a ratio is of the medians, and is met under its limit only', () => {
  const theirs = { what: 'sh', samples: [20, 20, 20] };
  expect(compared('x', [9, 9, 100], theirs, 0.5)).toMatchObject({ figure: 9, ratio: 0.45, met: true });
  expect(compared('x', [10, 10, 10], theirs, 0.5)).toMatchObject({ ratio: 0.5, met: false });
  expect(compared('x', [10, 10, 10], theirs)).toMatchObject({ aim: null, met: null });
});

test('sides take turns, and the first round is not counted', async () => {
  const order: string[] = [];
  const side = (name: string) => async (): Promise<number> => order.push(name);
  const samples = await byTurns(2, [side('a'), side('b')]);
  expect(order.join('')).toBe('ababab');
  expect(samples(0)).toEqual([3, 5]);
  expect(samples(1)).toEqual([4, 6]);
});
