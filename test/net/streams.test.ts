// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PortGuest } from '../world/host-lab.ts';
import { firstWords, until, wanAddress, World } from '../world/world.ts';

/*
 * TCP through cuts of one network of a private lab while another keeps its way out, so that pasta runs on: what is
 * dropped meanwhile, it has to send again.
 */

let world: World;
let keeper: number;
let guest: PortGuest;
let neighbour: PortGuest;

const inLab = (command: readonly string[]): string[] => ['nsenter', '-t', String(keeper), '-n', ...command];
const nat = async (network: string, to: 'on' | 'off'): Promise<void> => {
  const done = await world.tapyard(['nat', network, to]);
  expect(done, done.stderr).toMatchObject({ code: 0 });
};

/** Counts what a program says. */
function heard(child: ChildProcess): () => number {
  let length = 0;
  child.stdout?.on('data', (chunk: Buffer) => (length += chunk.length));
  return () => length;
}

/** Connections that the lab tracks from an address. */
const tracked = async (address: string): Promise<number> => {
  const listing = await world.must(inLab(['cat', '/proc/net/nf_conntrack']), { as: 'root' });
  return listing.split('\n').filter((line) => line.includes(`src=${address} `)).length;
};

beforeAll(async () => {
  world = World.create();
  await world.serveWan();
  world.file(
    'seed.yaml',
    `name: seed
networks:
  br0: { subnet: 192.168.57.0/24, nat: true }
  br1: { subnet: 192.168.58.0/24, nat: true }
`,
  );
  const up = await world.tapyard(['up', `${world.home('user')}/seed.yaml`]);
  expect(up, up.stderr).toMatchObject({ code: 0 });
  const netd = path.join(world.runtimeDir('user'), 'tapyard');
  const anchor = world.leftFiles().find((file) => file.startsWith(netd) && file.endsWith('/anchor.json'));
  keeper = JSON.parse(readFileSync(anchor ?? '', 'utf8')).keeper.pid;
  guest = await PortGuest.start(world, '192.168.57.50', inLab, 'br0');
  neighbour = await PortGuest.start(world, '192.168.58.51', inLab, 'br1');
});
afterAll(() => world?.close());

test('streams, both ways, outlive the cuts of their network beside one that keeps its way out', async () => {
  const sink = world.start(
    [
      process.execPath,
      '-e',
      `require('node:net').createServer((s) => s.on('error', () => {}).pipe(process.stdout, { end: false }))
        .listen(7780, '${wanAddress}', () => console.log('ready'))`,
    ],
    { as: 'root', in: 'wan1' },
  );
  await firstWords(sink, 'the sink');
  const sent = heard(sink);
  // A line each 50 ms into the guest, and one each 5 ms from it: whenever the cut comes, something is under way.
  const received = heard(guest.spawn(['nc', '-d', wanAddress, '7777']));
  const ticks = `const s = require('node:net').connect(7780, '${wanAddress}'); setInterval(() => s.write('tick\\n'), 5)`;
  guest.spawn([process.execPath, '-e', ticks]);
  const beside = heard(neighbour.spawn(['nc', '-d', wanAddress, '7777']));
  await until('all run', 30_000, () => received() > 20 && sent() > 100 && beside() > 20);

  // A guest's window is now this, now that. pasta of Debian 12 remembers none that differs by less than a
  // hundredth, and takes an acknowledgement of another for no sign of a loss.
  const advertise = (window: number): Promise<unknown> =>
    guest.run(`nft add table ip window
      nft add chain ip window out '{ type filter hook output priority 0; }'
      nft flush chain ip window out
      nft add rule ip window out tcp flags ack tcp window set ${window}`);
  for (const [before, after] of [
    [500, 502],
    [502, 500],
    [500, 503],
  ] as const) {
    await advertise(before);
    const running = received();
    await until('the window is known', 30_000, () => received() > running + 20);
    await nat('br0', 'off');
    await advertise(after);
    // First what is on its way to this test arrives; then nothing, for long enough that lines are lost.
    const beginning = beside();
    await until('the other network has its way out', 30_000, () => beside() > beginning + 20);
    const stopped = { in: received(), out: sent() };
    await until('the other network keeps its way out', 30_000, () => beside() > beginning + 60);
    expect({ in: received(), out: sent() }).toEqual(stopped);
    await nat('br0', 'on');
    await until('the stream into the guest goes on', 30_000, () => received() > stopped.in);
    await until('the stream from the guest goes on', 30_000, () => sent() > stopped.out);
  }
});

test('a network that goes while it is cut takes its connections along, and no others', async () => {
  await nat('br0', 'off');
  expect(await tracked('192.168.57.50')).toBeGreaterThan(0);
  const others = await tracked('192.168.58.51');
  expect(others).toBeGreaterThan(0);
  world.file('seed.yaml', `name: seed\nnetworks:\n  br1: { subnet: 192.168.58.0/24, nat: true }\n`);
  const up = await world.tapyard(['up', `${world.home('user')}/seed.yaml`]);
  expect(up, up.stderr).toMatchObject({ code: 0 });
  expect(await tracked('192.168.57.50')).toBe(0);
  expect(await tracked('192.168.58.51')).toBe(others);
});
