// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from '../../../electron/contract/zod.ts';
import { NetdClient } from '../../../electron/core/net/netd-client.ts';
import type { NetdEvent } from '../../../electron/core/net/netd-protocol.ts';

const hello = { protocol: 1, version: '0', scope: 'private', lab: 'seed', uid: 0, pid: 1, instance: 'ab' };
const uplink = {
  provider: 'none',
  device: null,
  host_device: null,
  addresses: [],
  gateway: null,
  forwarding: false,
  pid: null,
  reason: { code: 'PASTA_MISSING', message: 'no pasta' },
};

const Request = z.looseObject({ id: z.number(), verb: z.string() });
type Request = z.infer<typeof Request>;

describe('the client of netd', () => {
  let dir: string;
  let server: Server;
  let answer: (request: Request, socket: Socket) => void;

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'tapyard-netd-'));
    server = createServer((socket) => {
      let text = '';
      socket.setEncoding('utf8').on('error', () => {});
      socket.on('data', (chunk: string) => {
        text += chunk;
        for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n')) {
          const request = Request.parse(JSON.parse(text.slice(0, end)));
          text = text.slice(end + 1);
          if (request.verb === 'hello') socket.write(`${JSON.stringify({ id: request.id, ok: hello })}\n`);
          else answer(request, socket);
        }
      });
    });
    await new Promise<void>((resolve) => server.listen(join(dir, 's'), resolve));
  });
  afterEach(() => {
    server.close();
    rmSync(dir, { recursive: true });
  });

  const connect = (): Promise<NetdClient> => NetdClient.connect(join(dir, 's'));

  it('gets answers by their ids, in pieces and in one packet with events', async () => {
    const snapshot = { scope: 'private', lab: 'seed', links: [], networks: [], uplink, newer: 'ignored' };
    answer = ({ id }, socket) => {
      const event = JSON.stringify({ event: 'uplink', uplink });
      const unknown = JSON.stringify({ event: 'weather', rain: true });
      const bytes = Buffer.from(`${unknown}\n${JSON.stringify({ id, ok: snapshot })}\n${event}\n`);
      socket.write(bytes.subarray(0, 50));
      setTimeout(() => socket.write(bytes.subarray(50)), 5);
    };
    const client = await connect();
    const events: NetdEvent[] = [];
    client.onEvent = (event) => events.push(event);
    expect(client.hello.lab).toBe('seed');
    await expect(client.request('observe', {})).resolves.toMatchObject({
      uplink: { reason: { code: 'PASTA_MISSING' } },
    });
    expect(events).toEqual([{ event: 'uplink', uplink }]);
    client.close();
  });

  it('rejects with netd’s own error, also one of a code that is new', async () => {
    answer = ({ id }, socket) =>
      socket.write(
        `${JSON.stringify({ id, error: { code: 'BRAND_NEW', message: 'm', hint: 'h', subject: 's' } })}\n`,
      );
    const client = await connect();
    await expect(client.request('counters', {})).rejects.toMatchObject({
      code: 'BRAND_NEW',
      hint: 'h',
      subject: 's',
    });
    client.close();
  });

  it.each([
    ['not JSON', 'what?\n'],
    ['of no known shape', '{"hello":1}\n'],
    ['not for anybody', '{"id":null,"error":{"code":"NOT_ALLOWED","message":"go away"}}\n'],
  ])('gives up on a message that is %s', async (_what, line) => {
    answer = (_request, socket) => socket.write(line);
    const client = await connect();
    await expect(client.request('counters', {})).rejects.toMatchObject({
      code: expect.stringMatching(/^(NETD_FAILED|NOT_ALLOWED)$/),
    });
    await client.closed;
    await expect(client.request('counters', {})).rejects.toBeDefined();
  });

  it('rejects what is under way when netd goes, and an answer of the wrong shape', async () => {
    answer = ({ id }, socket) => socket.write(`${JSON.stringify({ id, ok: { links: 'none' } })}\n`);
    const client = await connect();
    await expect(client.request('counters', {})).rejects.toMatchObject({ code: 'NETD_FAILED' });
    answer = (_request, socket) => socket.destroy();
    await expect(client.request('counters', {})).rejects.toMatchObject({ code: 'NETD_FAILED' });
    await expect(client.closed).resolves.toMatchObject({ code: 'NETD_FAILED' });
  });

  it('does not send what netd would refuse, and says when nobody listens', async () => {
    const client = await connect();
    const args = { lab: 'x'.repeat(70_000), network: 'n' };
    await expect(client.request('remove_network', args)).rejects.toMatchObject({ code: 'TOO_LARGE' });
    client.close();
    await expect(NetdClient.connect(join(dir, 'nobody'))).rejects.toMatchObject({ code: 'NETD_MISSING' });
  });
});
