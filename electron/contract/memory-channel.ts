// SPDX-License-Identifier: Apache-2.0
import type { Channel } from './client.ts';

type Message = string | Uint8Array;

class MemoryChannel implements Channel {
  onMessage: ((message: Message) => void) | undefined;
  onClose: ((reason: string) => void) | undefined;
  buffered = 0;
  peer: MemoryChannel | undefined;
  #open = true;

  send(message: Message): void {
    if (!this.#open) return;
    // A copy, as every other transport makes one: the sender may use its buffer again.
    const sent = typeof message === 'string' ? message : message.slice();
    this.buffered += sent.length;
    void Promise.resolve().then(() => {
      this.buffered -= sent.length;
      this.peer?.receive(sent);
    });
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    // Behind the messages that were sent before.
    void Promise.resolve().then(() => this.peer?.lost('the other side closed'));
  }

  receive(message: Message): void {
    if (this.#open) this.onMessage?.(message);
  }

  lost(reason: string): void {
    if (!this.#open) return;
    this.#open = false;
    this.onClose?.(reason);
  }
}

/** Two channels joined in memory, for tests, fakes and a window in the core's own process. Messages keep order. */
export function memoryChannelPair(): [Channel, Channel] {
  const left = new MemoryChannel();
  const right = new MemoryChannel();
  left.peer = right;
  right.peer = left;
  return [left, right];
}
