// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { z } from '../../../electron/contract/zod.ts';
import { Qmp, type QmpEvent } from '../../../electron/core/guest/qmp.ts';

let box: string;
let path: string;
let server: Server | undefined;
const sockets: Socket[] = [];

beforeEach(() => {
  box = mkdtempSync(join(tmpdir(), 'tapyard-qmp-'));
  path = join(box, 'qmp.sock');
});
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  server?.close();
  server = undefined;
  rmSync(box, { recursive: true, force: true });
});

const Command = z.object({ execute: z.string(), id: z.number() });
const greeting =
  '{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}\r\n';

/** A QEMU that greets with `hello` and answers each command with what `answer` gives. */
async function fake(hello: string, answer: (command: string, id: number) => string): Promise<void> {
  server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    if (hello !== '') socket.write(hello);
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString('utf8');
      for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n')) {
        const { execute, id } = Command.parse(JSON.parse(text.slice(0, end)));
        text = text.slice(end + 1);
        socket.write(answer(execute, id));
      }
    });
  });
  await new Promise<void>((resolve) => server?.listen(path, resolve));
}

const ok = (id: number, value: unknown = {}): string => `${JSON.stringify({ return: value, id })}\n`;

it('negotiates, matches answers by id, and hears events', async () => {
  const held: string[] = [];
  await fake(greeting, (command, id) => {
    if (command === 'slow') {
      held.push(ok(id, 'slow'));
      return '';
    }
    // The later command is answered first, in the middle of an event.
    if (command === 'fast') {
      return `{"event":"STOP","timestamp":{"seconds":1,"microseconds":2}}\n${ok(id, 'fast')}${held.join('')}`;
    }
    return ok(id);
  });
  const qmp = await Qmp.connect(path);
  expect(qmp.version).toBe('7.2.22');
  const events: QmpEvent[] = [];
  qmp.listen({ event: (event) => events.push(event), closed: () => undefined });
  const [slow, fast] = await Promise.all([qmp.execute('slow'), qmp.execute('fast')]);
  expect([slow, fast]).toEqual(['slow', 'fast']);
  expect(events).toEqual([{ event: 'STOP', data: {} }]);
  qmp.close();
});

it('keeps events that come before somebody listens', async () => {
  await fake(
    `${greeting}{"event":"RESUME","data":{},"timestamp":{"seconds":1,"microseconds":2}}\n`,
    (_, id) => ok(id),
  );
  const qmp = await Qmp.connect(path);
  const events: string[] = [];
  qmp.listen({ event: ({ event }) => events.push(event), closed: () => undefined });
  expect(events).toEqual(['RESUME']);
  qmp.close();
});

it('tells a refusal in QEMU’s words', async () => {
  await fake(greeting, (command, id) =>
    command === 'quit' ? `{"id":${id},"error":{"class":"GenericError","desc":"not now"}}\n` : ok(id),
  );
  const qmp = await Qmp.connect(path);
  await expect(qmp.execute('quit')).rejects.toMatchObject({
    code: 'QMP_FAILED',
    message: 'QEMU refused quit: not now',
  });
  qmp.close();
});

it('gives up on a command, and drops its late answer', async () => {
  await fake(greeting, (command, id) => (command === 'never' ? '' : ok(id, command)));
  const qmp = await Qmp.connect(path);
  await expect(qmp.execute('never', {}, { deadlineMs: 30 })).rejects.toMatchObject({ code: 'DEADLINE' });
  sockets[0]?.write(ok(2, 'late'));
  expect(await qmp.execute('next')).toBe('next');
  qmp.close();
});

it('rejects what waits when QEMU goes, and says so once', async () => {
  await fake(greeting, (command, id) => {
    if (command === 'die') sockets[0]?.destroy();
    return ok(id);
  });
  const qmp = await Qmp.connect(path);
  let closed = 0;
  qmp.listen({ event: () => undefined, closed: () => closed++ });
  await expect(qmp.execute('die')).rejects.toMatchObject({ code: 'QMP_FAILED' });
  await expect(qmp.execute('more')).rejects.toMatchObject({ code: 'QMP_FAILED' });
  expect(closed).toBe(1);
});

it('fails on a monitor that another client holds', async () => {
  await fake('', () => '');
  await expect(Qmp.connect(path, { deadlineMs: 50 })).rejects.toMatchObject({
    code: 'QMP_FAILED',
    message: expect.stringContaining('greeting'),
  });
});

it.each([
  ['text', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
  ['another JSON', '{"hello": 1}\n'],
  ['nothing at all', undefined],
])('fails on %s instead of a greeting', async (_, hello) => {
  if (hello !== undefined) await fake(hello, () => '');
  await expect(Qmp.connect(path)).rejects.toMatchObject({ code: 'QMP_FAILED' });
});

it.each([
  ['garbage', () => '%%%\n'],
  ['an answer without id', () => '{"return": {}}\n'],
  ['a line without end', () => 'x'.repeat(5 * 1024 * 1024)],
])('closes on %s', async (_, answer) => {
  await fake(greeting, (command, id) => (command === 'qmp_capabilities' ? ok(id) : answer()));
  const qmp = await Qmp.connect(path);
  const closed = new Promise((resolve) => {
    qmp.listen({ event: () => undefined, closed: resolve });
  });
  await expect(qmp.execute('anything')).rejects.toMatchObject({ code: 'QMP_FAILED' });
  expect(await closed).toMatchObject({ code: 'QMP_FAILED' });
});

it('reads a character that is cut in two, and many messages in one piece', async () => {
  const name = 'Gästezimmer 🛏';
  await fake(greeting, (command, id) => {
    if (command !== 'cut') return ok(id);
    const bytes = Buffer.from(ok(id, name));
    for (const byte of bytes) sockets[0]?.write(Buffer.of(byte));
    return '';
  });
  const qmp = await Qmp.connect(path);
  expect(await qmp.execute('cut')).toBe(name);
  qmp.close();
});

it('lets go of a monitor that greets and negotiates no further', async () => {
  await fake(greeting, () => '');
  await expect(Qmp.connect(path, { deadlineMs: 50 })).rejects.toMatchObject({ code: 'DEADLINE' });
  await expect.poll(() => sockets[0]?.destroyed).toBe(true);
});

it('keeps no flood of events', async () => {
  const event = '{"event":"STOP","timestamp":{"seconds":1,"microseconds":2}}\n';
  await fake(`${greeting}${event.repeat(5000)}`, () => '');
  await expect(Qmp.connect(path)).rejects.toMatchObject({ code: 'QMP_FAILED' });
});
