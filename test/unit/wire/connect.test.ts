// SPDX-License-Identifier: Apache-2.0
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Channel, Client, Connection } from '../../../electron/contract/client.ts';
import { connect, streamWindow } from '../../../electron/contract/connect.ts';
import { contract } from '../../../electron/contract/contract.ts';
import { serveChannel } from '../../../electron/contract/dispatch.ts';
import { TapyardError } from '../../../electron/contract/error.ts';
import { contractHash, contractText } from '../../../electron/contract/hash.ts';
import { memoryChannelPair } from '../../../electron/contract/memory-channel.ts';
import type { ByteIntake, ByteSink, CallContext, Server } from '../../../electron/contract/server.ts';
import type { Audience } from '../../../electron/contract/leaf.ts';
import { StubGauge, StubTable, stubServer } from './stub-server.ts';

const open: Connection[] = [];

async function joined(
  server: Server,
  audience: Audience = 'shell',
  role: 'browser' | 'cli' | 'window' | 'shell' = 'shell',
): Promise<{ client: Client; connection: Connection; left: Channel; right: Channel }> {
  const [left, right] = memoryChannelPair();
  serveChannel(right, server, { audience });
  const connection = await connect(left, { role, deadlineMs: 1000 });
  open.push(connection);
  return { client: connection.client, connection, left, right };
}

afterEach(() => {
  for (const connection of open.splice(0)) connection.close();
});

const settle = (ms = 20): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const hostRow = {
  id: 'host',
  hostname: 'h',
  user: 'u',
  qemuVersion: null,
  accelerator: null,
  tapyardVersion: '0',
};
const job = (id: string, done = 0) => ({
  id,
  lab: null,
  name: 'lab.up',
  state: 'running' as const,
  doing: '',
  asks: null,
  done,
  total: 0,
  startedAt: 0,
  check: null,
  endedAt: null,
  error: null,
});

describe('the derived client', () => {
  it('has every leaf of the contract', async () => {
    const { client } = await joined(stubServer());
    const names = (tree: object): string[] =>
      Object.entries(tree).flatMap(([group, members]: [string, object]) =>
        Object.keys(members).map((name) => `${group}.${name}`),
      );
    expect(names(client)).toEqual(names(contract));
  });

  it('calls, fills in defaults and answers', async () => {
    const server = stubServer();
    const down = vi.fn(() => Promise.resolve({ job: 'j1' }));
    const { client } = await joined({ ...server, lab: { ...server.lab, down } });
    await expect(client.lab.down({ lab: 'seed' })).resolves.toEqual({ job: 'j1' });
    expect(down).toHaveBeenCalledWith({ lab: 'seed', force: false }, expect.anything());
  });

  it('carries an error with code, hint and subject', async () => {
    const server = stubServer();
    const start = (): Promise<never> =>
      Promise.reject(
        new TapyardError('QEMU_MISSING', 'no qemu', { hint: 'install it', subject: 'seed/web' }),
      );
    const { client } = await joined({ ...server, guest: { ...server.guest, start } });
    await expect(client.guest.start({ lab: 'seed', guest: 'web' })).rejects.toMatchObject({
      code: 'QEMU_MISSING',
      message: 'no qemu',
      hint: 'install it',
      subject: 'seed/web',
    });
  });

  it('refuses bad input before it is sent', async () => {
    const { client } = await joined(stubServer());
    await expect(client.guest.start({ lab: '../x', guest: 'web' })).rejects.toMatchObject({
      code: 'BAD_ARGS',
    });
  });

  it('turns an answer that breaks the contract into INTERNAL', async () => {
    const server = stubServer();
    const setNat = (): ReturnType<Server['network']['setNat']> =>
      // Beyond what the type can say: NaN is a number, and none that the contract lets through.
      Promise.resolve({ nat: true, changed: true, flowsRemoved: Number.NaN, ms: 1 });
    const { client } = await joined({ ...server, network: { ...server.network, setNat } });
    await expect(client.network.setNat({ lab: 'a', network: 'br0', nat: true })).rejects.toMatchObject({
      code: 'INTERNAL',
    });
  });

  it('aborts: the caller knows at once, the handler is told', async () => {
    const server = stubServer();
    let context: CallContext | undefined;
    const run = (_: object, given: CallContext): Promise<never> => {
      context = given;
      return new Promise(() => undefined);
    };
    const { client } = await joined({ ...server, check: { ...server.check, run } });
    const controller = new AbortController();
    const answer = client.check.run({}, { signal: controller.signal });
    await settle();
    controller.abort();
    await expect(answer).rejects.toMatchObject({ code: 'ABORTED' });
    await settle();
    expect(context?.signal.aborted).toBe(true);
  });
});

describe('the connection', () => {
  it('rejects everything that is pending when the channel is lost, and aborts the handlers', async () => {
    const server = stubServer();
    let signal: CallContext['signal'] | undefined;
    const run = (_: object, context: CallContext): Promise<never> => {
      signal = context.signal;
      return new Promise(() => undefined);
    };
    const { client, connection, left, right } = await joined({ ...server, check: { ...server.check, run } });
    const answer = client.check.run({});
    await settle();
    right.close();
    left.onClose?.('gone');
    right.onClose?.('gone');
    await expect(answer).rejects.toMatchObject({ code: 'CORE_UNREACHABLE' });
    await expect(connection.closed).resolves.toMatchObject({ code: 'CORE_UNREACHABLE' });
    await expect(client.check.run({})).rejects.toMatchObject({ code: 'CORE_UNREACHABLE' });
    expect(signal?.aborted).toBe(true);
  });

  it('gives up when nobody says hello', async () => {
    const [left] = memoryChannelPair();
    await expect(connect(left, { role: 'cli', deadlineMs: 30 })).rejects.toMatchObject({
      code: 'CORE_UNREACHABLE',
    });
  });

  it('tells a core of another version kindly, from both sides', async () => {
    const [left, right] = memoryChannelPair();
    right.onMessage = () => right.send(JSON.stringify({ t: 'hello', contract: 'other', later: 1 }));
    await expect(connect(left, { role: 'cli', deadlineMs: 500 })).rejects.toMatchObject({
      code: 'CONTRACT_MISMATCH',
      hint: expect.stringContaining('guests keep running'),
    });
    const [client, core] = memoryChannelPair();
    serveChannel(core, stubServer(), { audience: 'user' });
    const said = new Promise<unknown>((resolve) => {
      client.onMessage = (message) => resolve(JSON.parse(String(message)));
    });
    client.send(JSON.stringify({ t: 'hello', contract: 'newer', role: 'cli', later: 1 }));
    expect(await said).toMatchObject({ t: 'refused', error: { code: 'CONTRACT_MISMATCH' } });
  });

  it('lets a role lower what the transport allows, never raise it', async () => {
    const server = stubServer();
    const lowered = await joined(server, 'user', 'browser');
    await expect(lowered.client.core.quit({})).rejects.toMatchObject({
      code: 'NOT_ALLOWED',
      message: 'core.quit is for this user’s own commands and desktop window only.',
      hint: expect.stringContaining('tapyard'),
    });
    const raised = await joined(server, 'anyone', 'shell');
    await expect(raised.client.core.quit({})).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
    const user = await joined(server, 'user', 'cli');
    await expect(user.client.core.quit({})).resolves.toEqual({});
  });
});

describe('tables', () => {
  it('snapshots, coalesces the changes of a tick, and has them before a call is answered', async () => {
    const server = stubServer();
    const jobs = new StubTable<ReturnType<typeof job>>();
    jobs.change([job('a')]);
    const cancel = (): ReturnType<Server['job']['cancel']> => {
      jobs.change([job('c')]);
      return Promise.resolve({});
    };
    const { client } = await joined({
      ...server,
      job: { cancel },
      tables: { ...server.tables, jobs },
    });
    const changes: unknown[] = [];
    const subscription = client.tables.jobs((change) => changes.push(change));
    await settle();
    expect(changes).toEqual([{ full: [job('a')] }]);
    jobs.change([job('b')]);
    jobs.change([job('b', 1)], ['a']);
    await settle();
    expect(changes[1]).toEqual({ put: [job('b', 1)], del: ['a'] });
    await client.job.cancel({ job: 'x' });
    expect(changes[2]).toEqual({ put: [job('c')], del: [] });
    subscription.close();
    await settle();
    expect(jobs.listeners).toBe(0);
  });

  it('starts anew with a new epoch', async () => {
    const server = stubServer();
    const host = new StubTable<typeof hostRow>();
    const { client } = await joined({ ...server, tables: { ...server.tables, host } });
    const changes: unknown[] = [];
    client.tables.host((change) => changes.push(change));
    await settle();
    host.epoch = 'two';
    host.change([hostRow]);
    await settle();
    expect(changes).toEqual([{ full: [] }, { full: [hostRow] }]);
  });

  it('owes a slow client one snapshot, not a backlog', async () => {
    const server = stubServer();
    const jobs = new StubTable<ReturnType<typeof job>>();
    const [left, right] = memoryChannelPair();
    let full = false;
    let sent = 0;
    const slow: Channel = {
      get buffered() {
        return full ? 10_000_000 : 0;
      },
      send: (message) => {
        sent += 1;
        right.send(message);
      },
      close: () => right.close(),
      set onMessage(handler: Channel['onMessage']) {
        right.onMessage = handler;
      },
      set onClose(handler: Channel['onClose']) {
        right.onClose = handler;
      },
    };
    serveChannel(slow, { ...server, tables: { ...server.tables, jobs } }, { audience: 'user' });
    const connection = await connect(left, { role: 'cli', deadlineMs: 1000 });
    open.push(connection);
    const changes: unknown[] = [];
    connection.client.tables.jobs((change) => changes.push(change));
    await settle();
    full = true;
    const before = sent;
    for (let index = 0; index < 10_000; index++) jobs.change([job(`j${index}`)], [`j${index - 1}`]);
    await settle(150);
    expect(sent).toBe(before);
    full = false;
    await settle(150);
    expect(sent).toBe(before + 1);
    expect(changes.at(-1)).toEqual({ full: [job('j9999')] });
  });
});

describe('gauges', () => {
  it('come at most 5 times a second and rest while nobody looks', async () => {
    const server = stubServer();
    const flows = new StubGauge<number>();
    const { client, connection } = await joined({ ...server, gauges: { ...server.gauges, flows } });
    const seen: [string, number][][] = [];
    const subscription = client.gauges.flows((values) => seen.push([...values]));
    await settle();
    for (let value = 0; value < 50; value++) {
      flows.set('seed', value);
      await settle(10);
    }
    expect(seen.length).toBeGreaterThanOrEqual(3);
    expect(seen.length).toBeLessThanOrEqual(5);
    await settle(220);
    expect(seen.at(-1)).toEqual([['seed', 49]]);
    connection.setVisible(false);
    await settle();
    expect(flows.listeners).toBe(0);
    connection.setVisible(true);
    await settle();
    expect(flows.listeners).toBe(1);
    subscription.close();
    await settle();
    expect(flows.listeners).toBe(0);
  });
});

describe('byte streams', () => {
  function source(): { server: Server; sink: () => ByteSink; written: number[]; closed: () => boolean } {
    const server = stubServer();
    let sink: ByteSink | undefined;
    let closed = false;
    const written: number[] = [];
    const serial = (_: object, given: ByteSink): Promise<ByteIntake> => {
      sink = given;
      return Promise.resolve({
        write: (chunk) => written.push(...chunk),
        close: () => {
          closed = true;
        },
      });
    };
    return {
      server: { ...server, consoles: { ...server.consoles, serial } },
      sink: () => {
        if (sink === undefined) throw new Error('not opened');
        return sink;
      },
      written,
      closed: () => closed,
    };
  }

  it('carry offsets, skips, input and a good end', async () => {
    const { server, sink, written, closed } = source();
    const { client } = await joined(server);
    const events: unknown[] = [];
    const stream = client.consoles.serial(
      { lab: 'seed', guest: 'web', from: 0 },
      {
        data: (chunk, offset) => events.push([offset, ...chunk]),
        skip: (offset) => events.push(['skip', offset]),
        end: (error) => events.push(['end', error]),
      },
    );
    stream.write(new Uint8Array([7]));
    await settle();
    stream.write(new Uint8Array([8, 9]));
    await settle();
    const far = 2 ** 40 + 5;
    sink().data(new Uint8Array([1, 2]), far);
    sink().skip(far + 100);
    sink().end();
    await settle();
    expect(events).toEqual([
      [far, 1, 2],
      ['skip', far + 100],
      ['end', undefined],
    ]);
    expect(written).toEqual([7, 8, 9]);
    expect(closed()).toBe(true);
  });

  it('flow as far as the viewer gives credit, and on when it gives more', async () => {
    const { server, sink } = source();
    const { client } = await joined(server);
    let received = 0;
    client.consoles.serial(
      { lab: 'seed', guest: 'web', from: 0 },
      { data: (chunk) => (received += chunk.length), end: () => undefined },
    );
    await settle();
    const total = streamWindow * 10;
    let offset = 0;
    await new Promise<void>((resolve) => {
      const pump = (): void => {
        while (offset < total && sink().credit > 0) {
          const size = Math.min(7000, sink().credit, total - offset);
          sink().data(new Uint8Array(size), offset);
          offset += size;
        }
        if (offset === total) resolve();
      };
      sink().onCredit = pump;
      pump();
    });
    await settle();
    expect(received).toBe(total);
  });

  it('end when the core writes more than the credit', async () => {
    const { server, sink, closed } = source();
    const { client } = await joined(server);
    const end = vi.fn();
    client.consoles.serial({ lab: 'seed', guest: 'web', from: 0 }, { data: () => undefined, end });
    await settle();
    sink().data(new Uint8Array(streamWindow + 1), 0);
    await settle();
    expect(end).toHaveBeenCalledWith(expect.objectContaining({ code: 'INTERNAL' }));
    expect(closed()).toBe(true);
  });

  it('let go of the source when the viewer closes, even while it is being opened', async () => {
    const server = stubServer();
    const close = vi.fn();
    const screen = async (): Promise<ByteIntake> => {
      await settle(50);
      return { write: () => undefined, close };
    };
    const { client } = await joined({ ...server, consoles: { ...server.consoles, screen } });
    const stream = client.consoles.screen(
      { lab: 'seed', guest: 'web' },
      { data: () => undefined, end: () => undefined },
    );
    await settle(10);
    stream.close();
    await settle(80);
    expect(close).toHaveBeenCalledTimes(1);
  });

  it('tell why they could not be opened', async () => {
    const { client } = await joined(stubServer());
    const end = vi.fn();
    client.consoles.screen({ lab: 'seed', guest: 'web' }, { data: () => undefined, end });
    await settle();
    expect(end).toHaveBeenCalledWith(expect.objectContaining({ code: 'NO_SUCH_GUEST' }));
  });
});

describe('the hash of the contract', () => {
  it('is the same each time and sees every leaf', () => {
    expect(contractHash()).toMatch(/^[0-9a-f]{16}$/);
    expect(contractText()).toBe(contractText());
    expect(contractText()).toContain('"network.setNat"');
  });
});
