// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import { pageWeights } from '../world/page-weight.ts';

test.each(pageWeights())('$what has at most $limit kB gzipped', ({ kB, limit }) => {
  expect(kB).toBeGreaterThan(1); // it was found at all
  expect(kB).toBeLessThanOrEqual(limit);
});
