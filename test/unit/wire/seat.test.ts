// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Channel } from '../../../electron/contract/client.ts';
import { connect } from '../../../electron/contract/connect.ts';
import { contractHash } from '../../../electron/contract/hash.ts';
import { memoryChannelPair } from '../../../electron/contract/memory-channel.ts';
import { CoreSeat, helloAs } from '../../../electron/core/host/core-seat.ts';
import { withCore } from '../../../electron/core/host/election.ts';
import { proofOf as proofOfServe } from '../../../electron/serve/session.ts';
import type { PausableChannel } from '../../../electron/core/host/socket-channel.ts';
import { proofOf as proofOfPage } from '../../../renderer/connect/web-socket.ts';
import { stubServer } from './stub-server.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tapyard-seat-'));
  vi.stubEnv('XDG_RUNTIME_DIR', dir);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true });
});

const options = {
  start: () => Promise.resolve({ server: stubServer(), close: () => Promise.resolve() }),
  deadlineMs: 2000,
};

/** A page's channel and the shell's or serve's end of it. */
function pagePair(): [Channel, PausableChannel] {
  const [page, end] = memoryChannelPair();
  return [page, Object.assign(end, { pause: () => undefined, resume: () => undefined })];
}

describe('a seat at the core', () => {
  it('hosts it, or relays to the one that does, and takes over when that goes', async () => {
    const first = new CoreSeat(options);
    const second = new CoreSeat(options);
    const [hosted, hostedEnd] = pagePair();
    await first.attach(hostedEnd, 'browser');
    const [relayed, relayedEnd] = pagePair();
    await second.attach(relayedEnd, 'browser');
    expect([await first.hosts(), await second.hosts()]).toEqual([true, false]);
    const connections = await Promise.all(
      [hosted, relayed].map((channel) => connect(channel, { role: 'shell', deadlineMs: 2000 })),
    );
    for (const { client } of connections) {
      await expect(client.check.run({})).resolves.toEqual({ results: [] });
      // What the page says of itself does not raise it, neither here nor through the relay.
      await expect(client.core.quit({})).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
    }
    await first.close();
    await expect(connections[1]?.closed).resolves.toMatchObject({ code: 'CORE_UNREACHABLE' });
    const [again, againEnd] = pagePair();
    await second.attach(againEnd, 'browser');
    expect(await second.hosts()).toBe(true);
    const connection = await connect(again, { role: 'browser', deadlineMs: 2000 });
    await expect(connection.client.check.run({})).resolves.toEqual({ results: [] });
    connection.close();
    await second.close();
  });

  it('ends after the commands of others that are done in a moment', async () => {
    const seat = new CoreSeat(options);
    await seat.hold();
    let ending: Promise<void> | undefined;
    const answer = withCore({ ...options, role: 'cli' }, async ({ client }, hosted) => {
      ending = seat.close();
      await new Promise((resolve) => setTimeout(resolve, 200));
      return [hosted, await client.check.run({})];
    });
    expect(await answer).toEqual([false, { results: [] }]);
    await ending;
  });

  it('opens one core for windows that open at once', async () => {
    const start = vi.fn(options.start);
    const seat = new CoreSeat({ ...options, start });
    const pairs = [pagePair(), pagePair(), pagePair()];
    await Promise.all(pairs.map(([, end]) => seat.attach(end, 'window')));
    for (const [page] of pairs) {
      const connection = await connect(page, { role: 'window', deadlineMs: 2000 });
      await expect(connection.client.core.quit({})).resolves.toEqual({});
    }
    expect(start).toHaveBeenCalledTimes(1);
    await seat.close();
  });

  it('rejects when the core cannot start, and tries anew the next time', async () => {
    const start = vi.fn(options.start).mockRejectedValueOnce(new Error('no'));
    const seat = new CoreSeat({ ...options, start });
    await expect(seat.attach(pagePair()[1], 'window')).rejects.toThrow('no');
    await expect(seat.attach(pagePair()[1], 'window')).resolves.toBeUndefined();
    await seat.close();
  });

  it('changes nothing of a message but the role of a hello', () => {
    const hello = { t: 'hello', contract: contractHash(), role: 'shell' };
    expect(JSON.parse(String(helloAs('browser', JSON.stringify(hello))))).toEqual({
      ...hello,
      role: 'browser',
    });
    for (const other of ['{"t":"call"}', 'x', '']) expect(helloAs('browser', other)).toBe(other);
  });
});

describe('a page', () => {
  it('proves its session as serve expects it', async () => {
    const key = 'A-_b'.repeat(10).padEnd(43, 'Q');
    expect(await proofOfPage(key, 'challenge')).toBe(proofOfServe(key, 'challenge'));
  });

  it('makes a channel of a port', async () => {
    const { channelOf } = await import('../../../renderer/connect/message-port.ts');
    const { port1, port2 } = new MessageChannel();
    const left = channelOf(port1);
    const right = channelOf(port2);
    const got: unknown[] = [];
    right.onMessage = (message) => got.push(message);
    const closed = new Promise<string>((resolve) => {
      right.onClose = resolve;
    });
    left.send('text');
    left.send(new Uint8Array([1, 2]));
    left.close();
    expect(await closed).toContain('gone');
    expect(got).toEqual(['text', new Uint8Array([1, 2])]);
  });
});
