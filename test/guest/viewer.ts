// SPDX-License-Identifier: Apache-2.0
import { expect, vi } from 'vitest';
import type { ByteSink } from '../../electron/contract/server.ts';

/** A viewer with all the credit in the world, which checks that offsets are without gap or double. */
export class Viewer implements ByteSink {
  credit = Number.MAX_SAFE_INTEGER;
  onCredit: (() => void) | undefined;
  text = '';
  next: number | undefined;
  ended = false;
  data(chunk: Uint8Array, offset: number): void {
    if (this.next !== undefined) expect(offset).toBe(this.next);
    this.next = offset + chunk.length;
    this.text += Buffer.from(chunk).toString('latin1');
  }
  skip(): void {
    throw new Error('nothing may be skipped here');
  }
  end(): void {
    this.ended = true;
  }
  async sees(text: string, timeout = 50_000): Promise<void> {
    await vi.waitFor(() => expect(this.text).toContain(text), { timeout, interval: 20 });
  }
}
