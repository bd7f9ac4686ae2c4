// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  connectSocket,
  largestRequest,
  MessageSplitter,
  relay,
  socketChannel,
} from '../../../electron/core/host/socket-channel.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tapyard-wire-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const framed = (text: boolean, body: Uint8Array): Buffer => {
  const header = Buffer.alloc(5);
  header.writeUInt8(text ? 0 : 1, 0);
  header.writeUInt32BE(body.length, 1);
  return Buffer.concat([header, body]);
};

describe('the splitter', () => {
  it('finds the same messages however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.boolean(), fc.uint8Array({ maxLength: 40 }))),
        fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }),
        (messages, cuts) => {
          const stream = Buffer.concat(messages.map(([text, body]) => framed(text, body)));
          const splitter = new MessageSplitter(1000);
          const found: [boolean, number[]][] = [];
          for (let at = 0, turn = 0; at < stream.length; turn++) {
            const size = cuts[turn % cuts.length] ?? 1;
            for (const { text, body } of splitter.push(stream.subarray(at, at + size)))
              found.push([text, [...body]]);
            at += size;
          }
          expect(found).toEqual(messages.map(([text, body]) => [text, [...body]]));
        },
      ),
    );
  });

  it('refuses what is none of the wire’s', () => {
    expect(() => new MessageSplitter(10).push(Buffer.from('GET / HTTP/1.1'))).toThrow('does not speak');
    expect(() => new MessageSplitter(10).push(Buffer.from([0, 0, 0, 0, 11]))).toThrow('11 bytes');
  });
});

describe('a socket channel', () => {
  it('carries text and bytes both ways, tells its end, and drops a stranger', async () => {
    const path = join(dir, 's');
    const accepted: Socket[] = [];
    const listener = createServer((socket) => {
      accepted.push(socket);
      const channel = socketChannel(socket, largestRequest);
      channel.onMessage = (message) => channel.send(message);
    });
    await new Promise<void>((resolve) => listener.listen(path, resolve));
    const channel = await connectSocket(path, 1000);
    const got: (string | number[])[] = [];
    const closed = new Promise<string>((resolve) => {
      channel.onClose = resolve;
    });
    await new Promise<void>((resolve) => {
      channel.onMessage = (message) => {
        got.push(typeof message === 'string' ? message : [...message]);
        if (got.length === 2) resolve();
      };
      channel.send('grüß');
      channel.send(new Uint8Array([1, 2, 3]));
    });
    expect(got).toEqual(['grüß', [1, 2, 3]]);
    // Longer than a core takes: the core hangs up.
    channel.send('x'.repeat(largestRequest + 1));
    expect(await closed).toBeTypeOf('string');
    listener.close();
  });

  it('rejects where nobody listens', async () => {
    await expect(connectSocket(join(dir, 'none'), 1000)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('a relay', () => {
  it('holds up the sender when the reader does not read', async () => {
    const path = join(dir, 'core');
    const front = join(dir, 'front');
    let sender: ReturnType<typeof socketChannel> | undefined;
    const core = createServer((socket) => {
      sender = socketChannel(socket, largestRequest);
    });
    const middle = createServer((socket) => {
      void (async () => {
        relay(socketChannel(socket, largestRequest), await connectSocket(path, 1000));
      })();
    });
    await new Promise<void>((resolve) => core.listen(path, resolve));
    await new Promise<void>((resolve) => middle.listen(front, resolve));
    const reader = await connectSocket(front, 1000);
    let received = 0;
    reader.onMessage = (message) => {
      received += message.length;
    };
    reader.pause();
    const source = await vi.waitUntil(() => sender);
    const total = 400 * 65_536;
    for (let count = 0; count < 400; count++) source.send(new Uint8Array(65_536));
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(source.buffered).toBeGreaterThan(total / 2);
    reader.resume();
    await vi.waitUntil(() => received === total, 5000);
    reader.close();
    core.close();
    middle.close();
  });
});
