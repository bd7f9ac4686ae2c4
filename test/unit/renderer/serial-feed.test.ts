// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { BytesHandlers } from '../../../electron/contract/client.ts';
import { TapyardError } from '../../../electron/contract/error.ts';
import {
  SerialFeed,
  type SerialClient,
  type SerialStatus,
} from '../../../renderer/features/consoles/serial-feed.ts';

const encoder = new TextEncoder();
const bytes = (text: string): Uint8Array => encoder.encode(text);

interface Opened {
  readonly from: number;
  readonly handlers: BytesHandlers;
  readonly typed: string[];
  closed: boolean;
}

/** A client that has only a serial console, and remembers what was opened. */
function serialOnly(): { client: SerialClient; opened: Opened[] } {
  const opened: Opened[] = [];
  const consoles: SerialClient['consoles'] = {
    serial: ({ from }, handlers) => {
      const one: Opened = { from, handlers, typed: [], closed: false };
      opened.push(one);
      return {
        write: (chunk) => void one.typed.push(new TextDecoder().decode(chunk)),
        close: () => void (one.closed = true),
      };
    },
  };
  return { client: { consoles }, opened };
}

let shown: string;
let unparsed: (() => void)[];
let statuses: SerialStatus[];
let feed: SerialFeed;

beforeEach(() => {
  vi.useFakeTimers();
  shown = '';
  unparsed = [];
  statuses = [];
  feed = new SerialFeed(
    { lab: 'seed', guest: 'web' },
    {
      write: (chunk, parsed) => {
        shown += new TextDecoder().decode(chunk);
        unparsed.push(parsed);
      },
      gap: (count) => {
        shown += `[gap ${count}]`;
      },
    },
    (status) => statuses.push(status),
  );
});
afterEach(() => {
  feed.close();
  vi.useRealTimers();
});

describe('SerialFeed', () => {
  it('begins at the tail and goes on with the next byte after a reconnect', () => {
    const first = serialOnly();
    feed.setClient(first.client);
    expect(first.opened[0]?.from).toBe(-1);
    first.opened[0]?.handlers.data(bytes('hello '), 100);
    feed.setClient(null);
    expect(first.opened[0]?.closed).toBe(true);
    const second = serialOnly();
    feed.setClient(second.client);
    expect(second.opened[0]?.from).toBe(106);
    second.opened[0]?.handlers.data(bytes('world'), 106);
    expect(shown).toBe('hello world');
  });

  it('shows no byte twice and tells of those that are gone', () => {
    const { client, opened } = serialOnly();
    feed.setClient(client);
    opened[0]?.handlers.data(bytes('abc'), 0);
    opened[0]?.handlers.data(bytes('bcd'), 1);
    opened[0]?.handlers.data(bytes('abc'), 0);
    expect(shown).toBe('abcd');
    opened[0]?.handlers.skip?.(10);
    opened[0]?.handlers.data(bytes('xyz'), 10);
    expect(shown).toBe('abcd[gap 6]xyz');
  });

  it('hears nothing more from a stream that was left', () => {
    const first = serialOnly();
    feed.setClient(first.client);
    const second = serialOnly();
    feed.setClient(second.client);
    first.opened[0]?.handlers.data(bytes('old'), 0);
    first.opened[0]?.handlers.end(undefined);
    expect(shown).toBe('');
    expect(statuses.at(-1)).toEqual({ open: true });
  });

  it('opens a broken stream again, later and later', () => {
    const { client, opened } = serialOnly();
    feed.setClient(client);
    const error = new TapyardError('CONSOLE_CLOSED', 'The console is closed.');
    opened[0]?.handlers.end(error);
    expect(statuses.at(-1)).toEqual({ open: false, error });
    vi.advanceTimersByTime(500);
    expect(opened).toHaveLength(2);
    opened[1]?.handlers.end(error);
    vi.advanceTimersByTime(500);
    expect(opened).toHaveLength(2);
    vi.advanceTimersByTime(500);
    expect(opened).toHaveLength(3);
  });

  it('stops reading while the terminal is behind, goes on from the same byte, and loses no key', () => {
    const { client, opened } = serialOnly();
    feed.setClient(client);
    const chunk = new Uint8Array(300_000).fill(65);
    for (let number = 0; number < 4; number++) opened[0]?.handlers.data(chunk, number * 300_000);
    expect(opened[0]?.closed).toBe(true);
    feed.type(bytes('\u0003'));
    expect(opened).toHaveLength(1);
    for (const parsed of unparsed) parsed();
    expect(opened).toHaveLength(2);
    expect(opened[1]?.from).toBe(1_200_000);
    expect(opened[1]?.typed).toEqual(['\u0003']);
  });

  it('types into the stream', () => {
    const { client, opened } = serialOnly();
    feed.setClient(client);
    feed.type(bytes('ls\r'));
    expect(opened[0]?.typed).toEqual(['ls\r']);
  });

  it('is silent after it is closed', () => {
    const { client, opened } = serialOnly();
    feed.setClient(client);
    feed.close();
    opened[0]?.handlers.end(undefined);
    vi.advanceTimersByTime(10_000);
    expect(opened).toHaveLength(1);
  });
});
