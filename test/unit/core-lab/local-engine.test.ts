// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { z } from '../../../electron/contract/zod.ts';
import { LocalEngine } from '../../../electron/core/lab/local-engine.ts';

const hello = { protocol: 1, version: '0', scope: 'private', lab: 'seed', uid: 0, pid: 1, instance: 'ab' };
const uplink = (device: string | null): object => ({
  provider: 'none',
  device,
  host_device: null,
  addresses: [],
  gateway: null,
  forwarding: false,
  pid: null,
  reason: null,
});
const act = (seq: number): object => ({
  seq,
  time: 0,
  lab: 'seed',
  network: null,
  by: { cause: 'x' },
  what: `act ${seq}`,
  command: null,
  error: null,
});
const Request = z.looseObject({ id: z.number(), verb: z.string() });

let dir: string;
let runtime: string | undefined;
let server: Server | undefined;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tye-'));
  runtime = process.env['XDG_RUNTIME_DIR'];
  process.env['XDG_RUNTIME_DIR'] = dir;
});
afterEach(() => {
  if (runtime === undefined) delete process.env['XDG_RUNTIME_DIR'];
  else process.env['XDG_RUNTIME_DIR'] = runtime;
  server?.close();
  rmSync(dir, { recursive: true });
});

it('misses nothing that a netd tells between its snapshot and the log of what it did', async () => {
  const told: number[] = [];
  const engine = new LocalEngine('seed', 'private', {
    take: (acts) => void told.push(...acts.map(({ seq }) => seq)),
  });
  const answer = (socket: Socket, { id, verb }: z.infer<typeof Request>): void => {
    const say = (...lines: readonly object[]): void =>
      void socket.write(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    if (verb === 'hello') say({ id, ok: hello });
    else if (verb === 'observe')
      say({ id, ok: { scope: 'private', lab: 'seed', links: [], networks: [], uplink: uplink(null) } });
    else
      say(
        { event: 'uplink', uplink: uplink('up0') },
        { event: 'acts', acts: [act(2)] },
        { id, ok: { acts: [act(1), act(2)] } },
        { event: 'acts', acts: [act(3)] },
      );
  };
  server = createServer((socket) => {
    createInterface(socket).on('line', (line) => answer(socket, Request.parse(JSON.parse(line))));
  });
  mkdirSync(dirname(engine.netdSocket), { recursive: true, mode: 0o700 });
  await new Promise<void>((resolve) => server?.listen(engine.netdSocket, resolve));
  await engine.adopt();
  expect(engine.picture?.uplink.device).toBe('up0');
  // The log takes none that is older than one that it has.
  expect(told).toEqual([1, 2, 2, 3]);
  engine.close();
});
