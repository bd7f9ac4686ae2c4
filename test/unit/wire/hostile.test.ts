// SPDX-License-Identifier: Apache-2.0
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Channel, TableChange } from '../../../electron/contract/client.ts';
import { connect } from '../../../electron/contract/connect.ts';
import { openLimit, serveChannel } from '../../../electron/contract/dispatch.ts';
import { contractHash } from '../../../electron/contract/hash.ts';
import { memoryChannelPair } from '../../../electron/contract/memory-channel.ts';
import type { Server } from '../../../electron/contract/server.ts';
import { decodeFrame, encodeFrame, leaves } from '../../../electron/contract/wire.ts';
import { StubTable, stubServer } from './stub-server.ts';

const settle = (ms = 5): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A server whose every call and stream notes that it was reached. */
function watchedServer(reached: string[]): Server {
  const server = stubServer();
  const watch = <Group extends object>(group: string, members: Group): Group =>
    new Proxy(members, {
      get: (_, name) => () => {
        reached.push(`${group}.${String(name)}`);
        return Promise.reject(new Error('reached'));
      },
    });
  return {
    ...server,
    lab: watch('lab', server.lab),
    guest: watch('guest', server.guest),
    network: watch('network', server.network),
    consoles: watch('consoles', server.consoles),
    core: watch('core', server.core),
  };
}

function rawPeer(server: Server): { channel: Channel; answers: string[] } {
  const [client, core] = memoryChannelPair();
  serveChannel(core, server, { audience: 'anyone' });
  const answers: string[] = [];
  client.onMessage = (message) => answers.push(typeof message === 'string' ? message : 'bytes');
  return { channel: client, answers };
}

const hello = (): string => JSON.stringify({ t: 'hello', contract: contractHash(), role: 'browser' });

const badName = fc.constantFrom('../x', '', 'a'.repeat(64), 'x\n', '$(id)', '__proto__', 'UPPER', '-a');
const hostileMessage = fc.oneof(
  fc.string(),
  fc.json(),
  fc.uint8Array({ maxLength: 64 }),
  fc.constantFrom('{"t":"call"}', '['.repeat(100_000), '{"__proto__":{"t":"abort"}}', 'null', '[]'),
  fc
    .record({
      t: fc.constantFrom('call', 'open', 'subscribe', 'abort', 'close', 'credit', 'resnapshot'),
      id: fc.oneof(fc.integer(), fc.double(), fc.string(), fc.constant(1)),
      leaf: fc.oneof(
        fc.constantFrom(...leaves.keys()),
        fc.constantFrom('constructor.name', '__proto__.x', 'guest', 'guest.start.x'),
      ),
      in: fc.oneof(
        fc.anything({ withBigInt: false }),
        fc.record({ lab: badName, guest: badName, network: fc.constant('br0'), nat: fc.boolean() }),
      ),
      credit: fc.oneof(fc.integer(), fc.double()),
      bytes: fc.oneof(fc.integer(), fc.double()),
    })
    .map((message) => JSON.stringify(message) ?? ''),
);

describe('hostile clients', () => {
  it('never make the dispatcher throw and never reach a handler', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.boolean(),
        fc.array(hostileMessage, { maxLength: 12 }),
        async (greets, messages) => {
          const reached: string[] = [];
          const { channel } = rawPeer(watchedServer(reached));
          if (greets) channel.send(hello());
          for (const message of messages) channel.send(message);
          await settle(1);
          expect(reached).toEqual([]);
          channel.close();
        },
      ),
      { numRuns: 300 },
    );
  });

  it('get nothing but a refusal before they say hello', async () => {
    const reached: string[] = [];
    const { channel, answers } = rawPeer(watchedServer(reached));
    channel.send(JSON.stringify({ t: 'call', id: 1, leaf: 'lab.down', in: { lab: 'seed' } }));
    channel.send(hello());
    channel.send(JSON.stringify({ t: 'call', id: 1, leaf: 'lab.down', in: { lab: 'seed' } }));
    await settle();
    expect(reached).toEqual([]);
    expect(answers).toHaveLength(1);
    expect(answers[0]).toContain('HELLO_FIRST');
  });

  it('cannot have more open than the limit', async () => {
    const { channel, answers } = rawPeer(stubServer());
    channel.send(hello());
    for (let id = 1; id <= openLimit + 5; id++) {
      channel.send(JSON.stringify({ t: 'subscribe', id, leaf: 'gauges.cpu' }));
    }
    await settle();
    expect(answers.filter((answer) => answer.includes('BUSY'))).toHaveLength(5);
    channel.close();
  });
});

describe('frames', () => {
  it('come back as they were', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 0xffff_ffff }),
        fc.maxSafeNat(),
        fc.uint8Array(),
        (stream, offset, payload) => {
          expect(decodeFrame(encodeFrame(stream, offset, payload))).toEqual({ stream, offset, payload });
        },
      ),
    );
    expect(decodeFrame(new Uint8Array(11))).toBeUndefined();
    expect(decodeFrame(new Uint8Array(12).fill(0xff))).toBeUndefined();
  });
});

describe('tables', () => {
  const row = (id: string, done: number) => ({
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
  const operation = fc.oneof(
    fc.record({ put: fc.constantFrom('a', 'b', 'c', 'd'), value: fc.nat(9) }),
    fc.record({ del: fc.constantFrom('a', 'b', 'c', 'd') }),
    fc.constantFrom('tick' as const, 'lose' as const, 'epoch' as const),
  );

  it('are the same on both sides after any order of put, del, loss and new epoch', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { maxLength: 30 }), async (operations) => {
        const server = stubServer();
        const jobs = new StubTable<ReturnType<typeof row>>();
        const [left, right] = memoryChannelPair();
        let lose = 0;
        const lossy: Channel = {
          buffered: 0,
          send: (message) => {
            if (lose > 0 && String(message).includes('"t":"change"')) lose -= 1;
            else right.send(message);
          },
          close: () => right.close(),
          set onMessage(handler: Channel['onMessage']) {
            right.onMessage = handler;
          },
          set onClose(handler: Channel['onClose']) {
            right.onClose = handler;
          },
        };
        serveChannel(lossy, { ...server, tables: { ...server.tables, jobs } }, { audience: 'user' });
        const connection = await connect(left, { role: 'cli', deadlineMs: 1000 });
        const mirror = new Map<string, unknown>();
        connection.client.tables.jobs((change: TableChange<{ id: string }>) => {
          if ('full' in change) {
            mirror.clear();
            for (const entity of change.full) mirror.set(entity.id, entity);
          } else {
            for (const id of change.del) mirror.delete(id);
            for (const entity of change.put) mirror.set(entity.id, entity);
          }
        });
        let epoch = 0;
        for (const step of operations) {
          if (step === 'tick') await settle(2);
          else if (step === 'lose') lose += 1;
          else if (step === 'epoch') jobs.epoch = `e${epoch++}`;
          else if ('put' in step) jobs.change([row(step.put, step.value)]);
          else jobs.change([], [step.del]);
        }
        await settle(3);
        // A lost last change is found by the next one.
        lose = 0;
        jobs.change([row('z', 0)]);
        await settle(3);
        await settle(3);
        expect(new Set(mirror.values())).toEqual(new Set(jobs.rows()));
        connection.close();
      }),
      { numRuns: 60 },
    );
  }, 20_000);
});
