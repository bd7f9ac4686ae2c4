// SPDX-License-Identifier: Apache-2.0
import { createConnection, type Socket } from 'node:net';
import type { Channel } from '../../contract/client.ts';

/** A channel whose reading can be held up, so that a slow reader behind a relay is felt by the sender. */
export interface PausableChannel extends Channel {
  pause(): void;
  resume(): void;
}

const headerLength = 5;
/** Longest message that a client takes: the snapshot of a table of tens of thousands of rows. */
export const largestAnswer = 67_108_864;
/** Longest message that a core takes: a pasted text towards a console is the largest honest one. */
export const largestRequest = 1_048_576;

type Message = { text: boolean; body: Buffer };

/**
 * Cuts a byte stream into messages of `[u8 kind: 0 text, 1 binary][u32 length, big-endian][message]`
 * (docs/wire.md). `push` gives the messages that are complete; it throws on a kind or a length that is none.
 */
export class MessageSplitter {
  readonly #largest: number;
  #chunks: Buffer[] = [];
  #length = 0;

  constructor(largest: number) {
    this.#largest = largest;
  }

  push(chunk: Buffer): Message[] {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    const messages: Message[] = [];
    for (;;) {
      if (this.#length < headerLength) return messages;
      const header = this.#peek(headerLength);
      const kind = header.readUInt8(0);
      const length = header.readUInt32BE(1);
      if (kind > 1) throw new Error('it does not speak the wire');
      if (length > this.#largest) throw new Error(`it sent a message of ${length} bytes`);
      if (this.#length < headerLength + length) return messages;
      const whole = this.#peek(headerLength + length);
      messages.push({ text: kind === 0, body: whole.subarray(headerLength) });
      this.#drop(headerLength + length);
    }
  }

  /** The first `count` bytes in one piece; joins chunks only where it must, so a long message is copied once. */
  #peek(count: number): Buffer {
    const first = this.#chunks[0];
    if (first !== undefined && first.length >= count) return first.subarray(0, count);
    if (count === headerLength) return Buffer.concat(this.#chunks.slice(0, headerLength)).subarray(0, count);
    const joined = Buffer.concat(this.#chunks);
    this.#chunks = [joined];
    return joined.subarray(0, count);
  }

  #drop(count: number): void {
    this.#length -= count;
    let left = count;
    while (left > 0) {
      const first = this.#chunks[0];
      if (first === undefined) return;
      if (first.length > left) {
        this.#chunks[0] = first.subarray(left);
        return;
      }
      left -= first.length;
      this.#chunks.shift();
    }
  }
}

/** A connected unix socket as a channel of the wire. `largest` is the longest message that is taken, in bytes. */
export function socketChannel(socket: Socket, largest: number): PausableChannel {
  const splitter = new MessageSplitter(largest);
  let reason = 'the other side closed it';
  let open = true;
  const channel: PausableChannel = {
    onMessage: undefined,
    onClose: undefined,
    get buffered() {
      return socket.writableLength;
    },
    send: (message) => {
      if (!open) return;
      const text = typeof message === 'string';
      const body = text ? Buffer.from(message) : message;
      const header = Buffer.alloc(headerLength);
      header.writeUInt8(text ? 0 : 1, 0);
      header.writeUInt32BE(body.length, 1);
      socket.cork();
      socket.write(header);
      socket.write(body);
      socket.uncork();
    },
    close: () => {
      open = false;
      // What was sent before still goes out; a peer that does not read is not waited for.
      socket.end();
      setTimeout(() => socket.destroy(), 1000).unref();
    },
    pause: () => socket.pause(),
    resume: () => socket.resume(),
  };
  socket.on('data', (chunk: Buffer) => {
    let messages: Message[];
    try {
      messages = splitter.push(chunk);
    } catch (thrown) {
      reason = thrown instanceof Error ? thrown.message : String(thrown);
      socket.destroy();
      return;
    }
    for (const { text, body } of messages) {
      if (open) channel.onMessage?.(text ? body.toString('utf8') : body);
    }
  });
  socket.on('error', (error) => {
    reason = error.message;
  });
  socket.on('close', () => {
    if (!open) return;
    open = false;
    channel.onClose?.(reason);
  });
  return channel;
}

/** Connects to the unix socket `path`. Rejects with the system's error (ENOENT, ECONNREFUSED, …) or after `deadlineMs`. */
export function connectSocket(path: string, deadlineMs: number): Promise<PausableChannel> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ path });
    const timer = setTimeout(() => socket.destroy(new Error(`no answer on ${path}`)), deadlineMs);
    socket.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    socket.once('connect', () => {
      clearTimeout(timer);
      resolve(socketChannel(socket, largestAnswer));
    });
  });
}

/** Bytes that may wait on one side of a relay before the other side is held up. */
const relayBacklog = 1_048_576;
const relayCheck = 25;

/**
 * Joins two channels: what arrives on one is sent on the other, and both end together. Handlers are taken
 * over. A side that reads slowly holds up the other, so backlogs stay where they are bounded: at the core.
 * `first` may replace the first message of `left`.
 */
export function relay(
  left: PausableChannel,
  right: PausableChannel,
  first?: (message: string | Uint8Array) => string | Uint8Array,
): void {
  const join = (from: PausableChannel, to: PausableChannel): void => {
    let paused = false;
    from.onMessage = (message) => {
      to.send(message);
      // A few messages that were cut from the same piece still come after pause().
      if (paused || to.buffered <= relayBacklog) return;
      paused = true;
      from.pause();
      const timer = setInterval(() => {
        if (to.buffered > relayBacklog) return;
        clearInterval(timer);
        paused = false;
        from.resume();
      }, relayCheck);
      timer.unref();
    };
    from.onClose = () => to.close();
  };
  join(left, right);
  join(right, left);
  if (first === undefined) return;
  const { onMessage } = left;
  left.onMessage = (message) => {
    left.onMessage = onMessage;
    onMessage?.(first(message));
  };
}
