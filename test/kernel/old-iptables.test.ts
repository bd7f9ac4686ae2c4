// SPDX-License-Identifier: Apache-2.0
import { afterEach, test } from 'vitest';
import { StockKernel } from '../world/stock-kernel.ts';

/*
 * The old iptables beside a netd with file capabilities, with the kernels that users have: one tells netd of the
 * table by its hooks, one tells nobody but root.
 */

let kernel: StockKernel | undefined;
afterEach(() => kernel?.close());

test.each([
  ['debian-13', 'hooks'],
  ['debian-12', 'unseen'],
] as const)(
  '%s: %s',
  async (name, check) => {
    kernel = await StockKernel.boot(name);
    await kernel.program('test/kernel/old-iptables-inside.ts', [check], { timeout: 400_000 });
  },
  600_000,
);
