// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { StockKernel } from '../world/stock-kernel.ts';

describe('on the kernel of Debian 12, with its modules', () => {
  let kernel: StockKernel;
  const inside = (check: string, timeout = 300_000): Promise<string> =>
    kernel.program('test/kernel/networks-inside.ts', [check], { timeout });

  beforeAll(async () => {
    kernel = await StockKernel.boot('debian-12');
  }, 330_000);
  afterAll(() => kernel?.close());

  test('programs of this machine run on it', async () => {
    expect(await kernel.must('uname -r')).toBe(`${kernel.release}\n`);
    expect(kernel.release).toMatch(/^6\.1\./);
    expect(await kernel.run('echo one; echo two >&2; exit 3')).toEqual({
      code: 3,
      signal: null,
      stdout: 'one\n',
      stderr: 'two\n',
    });
  });

  test('in the host scope a network comes and goes, NAT is switched, and a NIC has delay, loss, a rate and vhost', async () => {
    await inside('host scope');
  }, 330_000);

  test('in the private scope an ordinary user’s guest gets out, and its NIC is delayed', async () => {
    await inside('private scope');
  }, 330_000);

  test('IPv6 leaves the host scope, which makes no other interface a router', async () => {
    await inside('IPv6 out', 450_000);
  }, 480_000);
});
