// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { safeLine } from '../../../electron/cli/terminal.ts';
import { TapyardError } from '../../../electron/contract/error.ts';
import {
  ClientMessage,
  decodeFrame,
  encodeFrame,
  Hello,
  parseMessage,
  ServerMessage,
} from '../../../electron/contract/wire.ts';
import { lastLine } from '../../../electron/core/console/tail.ts';
import { Qmp } from '../../../electron/core/guest/qmp.ts';
import { parseStat, parseUid } from '../../../electron/core/host/process.ts';
import { readLabFile } from '../../../electron/core/lab/definition.ts';
import { defaultDevice, defaultDevice6 } from '../../../electron/core/net/default-route.ts';
import { NetdClient } from '../../../electron/core/net/netd-client.ts';
import { routedSubnets } from '../../../electron/core/net/used-subnets.ts';
import { ownerOf } from '../../../electron/serve/peer.ts';
import { fuzz } from '../../fuzz/fuzz.ts';

/* Whatever the bytes: an answer or an error of ours, in time. `npm run fuzz -- SECONDS` takes longer. */

const text = new TextDecoder();
const minutes = 3_600_000;

describe('any bytes', () => {
  it('as a lab file are a definition or problems with their place', { timeout: minutes }, async () => {
    await fuzz('lab-file', (bytes) => {
      const { definition, problems } = readLabFile(bytes);
      expect(definition !== undefined || problems.length > 0).toBe(true);
      for (const { line, column } of problems) expect(line >= 1 && column >= 1).toBe(true);
    });
  });

  it('on the wire are a message or none, a frame or none', { timeout: minutes }, async () => {
    await fuzz('frames', (bytes) => {
      for (const schema of [Hello, ClientMessage, ServerMessage]) parseMessage(schema, text.decode(bytes));
      const frame = decodeFrame(bytes);
      if (frame)
        expect(Buffer.from(encodeFrame(frame.stream, frame.offset, frame.payload)).equals(bytes)).toBe(true);
    });
  });

  it('from a guest become plain text', { timeout: minutes }, async () => {
    await fuzz('serial', (bytes) => {
      const line = lastLine(bytes);
      expect(line).not.toMatch(/\p{C}/u);
      expect(Array.from(line).length).toBeLessThanOrEqual(200);
      // oxlint-disable-next-line no-control-regex
      expect(safeLine(text.decode(bytes))).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
    });
  });
});

/* A number that is none, or a name that is empty, would be a signal to everybody or a device that is not there. */
describe('any bytes of /proc', () => {
  const whole = (number: number): boolean => Number.isSafeInteger(number) && number >= 0;

  it('as routes lead by named devices, to subnets with a prefix', { timeout: minutes }, async () => {
    await fuzz('route-table', (bytes) => {
      const table = text.decode(bytes);
      for (const device of [defaultDevice(table), defaultDevice6(table)])
        if (device !== null) expect(device).toMatch(/^\S+$/);
      for (const { subnet, by } of routedSubnets(table)) {
        expect(by).toMatch(/^\S+$/);
        expect(whole(subnet.network) && subnet.broadcast < 2 ** 32).toBe(true);
        expect(whole(subnet.prefix) && subnet.prefix >= 1 && subnet.prefix <= 32).toBe(true);
      }
    });
  });

  it('as sockets have an owner or none', { timeout: minutes }, async () => {
    const [peer, own] = [
      { address: '127.0.0.1', port: 0xc001 },
      { address: '127.0.0.1', port: 8080 },
    ];
    await fuzz('socket-table', (bytes) => {
      const uid = ownerOf(text.decode(bytes), peer, own);
      expect(uid === undefined || whole(uid)).toBe(true);
    });
  });

  it('as a process have a number and a start', { timeout: minutes }, async () => {
    await fuzz('stat', (bytes) => {
      const facts = parseStat(text.decode(bytes));
      if (facts === undefined) return;
      const { pid, startTime, cpuTicks, state } = facts;
      expect(pid > 0 && whole(pid) && whole(startTime) && whole(cpuTicks)).toBe(true);
      expect(state).toMatch(/^[A-Za-z]$/);
    });
    await fuzz('status', (bytes) => {
      const uid = parseUid(text.decode(bytes));
      expect(uid === undefined || whole(uid)).toBe(true);
    });
  });
});

describe('any bytes from a socket', () => {
  let dir: string;
  let server: Server;
  let where: string;
  let words: Uint8Array = new Uint8Array();

  beforeAll(async () => {
    dir = mkdtempSync(path.join(tmpdir(), 'tyf-'));
    where = path.join(dir, 's');
    server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.on('data', () => undefined);
      socket.end(words);
    });
    await new Promise<void>((resolve) => server.listen(where, resolve));
  });
  afterAll(() => {
    server.close();
    rmSync(dir, { recursive: true, force: true });
  });

  async function ours(attempt: Promise<unknown>): Promise<void> {
    await attempt.catch((error: unknown) => {
      if (!(error instanceof TapyardError)) throw error;
    });
  }

  it('are no QMP, or one that ends', { timeout: minutes }, async () => {
    await fuzz('qmp', async (bytes) => {
      words = bytes;
      await ours(
        Qmp.connect(where).then(async (qmp) => {
          qmp.listen({ event: () => undefined, closed: () => undefined });
          await ours(qmp.execute('query-status'));
          qmp.close();
        }),
      );
    });
  });

  it('are no netd, or one that ends', { timeout: minutes }, async () => {
    await fuzz('netd-reply', async (bytes) => {
      words = bytes;
      await ours(
        NetdClient.connect(where).then(async (client) => {
          await client.closed;
          client.close();
        }),
      );
    });
  });
});
