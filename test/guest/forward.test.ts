// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from '../../electron/contract/zod.ts';
import { ForwardRow } from '../../electron/contract/rows.ts';
import { checkout, ended, firstWords, hostAddress, until, World } from '../world/world.ts';

const seed = readFileSync(path.join(checkout, 'assets/labs/seed.yaml'), 'utf8').trimEnd();

/* Each command hosts a core of its own here, so every look at a forward is also one of a core that has adopted it. */
describe('forwards of the lab file', () => {
  let world: World;
  let file: string;

  beforeAll(async () => {
    world = World.create();
    file = world.file('tapyard.yaml', `${seed}\n    forwards: [{ port: 8080, to: 80 }]\n`);
    const up = await world.tapyard(['up', file], { timeout: 90_000 });
    expect(up, `${up.stdout}\n${up.stderr}`).toMatchObject({ code: 0 });
  });
  afterAll(() => world?.close());

  const rows = async (): Promise<ForwardRow[]> => {
    const listed = await world.tapyard(['forward', '--json'], { timeout: 20_000 });
    expect(listed, listed.stderr).toMatchObject({ code: 0 });
    return z.array(ForwardRow).parse(JSON.parse(listed.stdout));
  };

  /** The guest's web page as `in` sees it at `at`, or why it does not. */
  const page = async (at: string, from: 'host1' | 'wan1' = 'host1'): Promise<string> => {
    // Not fetch(): Node can end without a word when a connection is reset under it.
    const get = `require('node:http').get('http://${at}/', { agent: false }, (answer) => answer.pipe(process.stdout))
      .on('error', (error) => console.log(error.code, error.message))`;
    return world.must([process.execPath, '-e', get], { in: from });
  };
  const served = (at: string, from?: 'host1' | 'wan1'): Promise<true> =>
    until(`the guest's page at ${at}`, 20_000, async () =>
      (await page(at, from)).includes('guest') ? true : undefined,
    );

  test('one listens once the lab is up, on loopback only, and leads to the guest', async () => {
    expect(await rows()).toMatchObject([
      {
        guest: 'guest',
        address: '127.0.0.1',
        port: 8080,
        to: 80,
        state: 'listening',
        target: '192.168.57.2',
        flows: 0,
        error: null,
      },
    ]);
    await served('127.0.0.1:8080');
    expect(await page(`${hostAddress}:8080`, 'wan1')).toContain('ECONNREFUSED');
  });

  test('a connection outlives the core that began it, and is counted by the next', async () => {
    const client = world.start([
      process.execPath,
      '-e',
      `const s = require('node:net').connect(8080, '127.0.0.1'); s.on('connect', () => console.log('in')); s.on('data', () => console.log('data')); process.stdin.on('data', () => s.write('GET / HTTP/1.0\\r\\n\\r\\n'))`,
    ]);
    let said = '';
    client.stdout?.setEncoding('utf8').on('data', (text: string) => (said += text));
    await until('the client is in', 10_000, () => said.includes('in'));
    await until('the flow is counted', 10_000, async () => (await rows())[0]?.flows === 1);
    client.stdin?.write('go\n');
    await until('the answer', 10_000, () => said.includes('data'));
    client.kill('SIGKILL');
    await until('the flow is over', 10_000, async () => (await rows())[0]?.flows === 0);
  });

  const kill = (pid: number | null | undefined): void => {
    if (typeof pid !== 'number') throw new Error('no forward runs');
    process.kill(pid, 'SIGKILL');
  };

  test('killed, it is back with the next core, and under a core that stays by itself', async () => {
    const before = (await rows())[0]?.pid;
    kill(before);
    const after = (await rows())[0];
    expect(after).toMatchObject({ state: 'listening', error: null });
    expect(after?.pid).not.toBe(before);
    const serve = await world.serve();
    kill(after?.pid);
    await until('it is back', 10_000, async () => {
      const [row] = await rows();
      return row?.state === 'listening' && row.pid !== after?.pid;
    });
    await served('127.0.0.1:8080');
    await ended(serve, 'tapyard serve');
  });

  test('not heard for a while, because its core stood still, it is followed again and not forgotten', async () => {
    const serve = await world.serve();
    const before = (await rows())[0]?.pid;
    const core = world.processes().find(({ command }) => /node.* serve$/.test(command))?.pid;
    if (core === undefined) throw new Error('no serve runs');
    process.kill(core, 'SIGSTOP');
    // Each client is two changes to tell: together more than a socket holds.
    const clients = `const { connect } = require('node:net');
      const one = () => new Promise((done) => { const s = connect(8080, '127.0.0.1', () => s.end()); s.on('error', () => {}).on('close', done).resume(); });
      (async () => { for (let i = 0; i < 60; i++) await Promise.all([one(), one(), one(), one(), one()]); })();`;
    await world.must([process.execPath, '-e', clients]);
    process.kill(core, 'SIGCONT');
    await until('it is followed again', 20_000, async () => {
      const [row] = await rows();
      return row?.state === 'listening' && row.flows === 0;
    });
    expect((await rows())[0]?.pid).toBe(before);
    await served('127.0.0.1:8080');
    await ended(serve, 'tapyard serve');
    expect((await rows())[0]).toMatchObject({ state: 'listening', pid: before });
  });

  test('one more, for the network too, is written into the file and taken out again', async () => {
    const added = await world.tapyard(['forward', 'guest', '8081', '80', '--address', '0.0.0.0']);
    expect(added).toMatchObject({ code: 0, stdout: '0.0.0.0:8081 -> guest (192.168.57.2):80\n', stderr: '' });
    expect(readFileSync(file, 'utf8')).toContain(
      'forwards: [{ port: 8080, to: 80 }, { port: 8081, to: 80, address: 0.0.0.0 }]',
    );
    await served(`${hostAddress}:8081`, 'wan1');
    const removed = await world.tapyard(['forward', 'guest', '8081', '--address', '0.0.0.0', '--remove']);
    expect(removed).toMatchObject({ code: 0, stderr: '' });
    expect(readFileSync(file, 'utf8')).toContain('forwards: [{ port: 8080, to: 80 }]\n');
    expect(await page(`${hostAddress}:8081`, 'wan1')).toContain('ECONNREFUSED');
    const twice = await world.tapyard(['forward', 'guest', '8081', '--address', '0.0.0.0', '--remove']);
    expect(twice).toMatchObject({ code: 1 });
    expect(twice.stderr).toContain('[NO_SUCH_FORWARD]');
  });

  test('what cannot be listened on says why and whose it is', async () => {
    const other = world.start([
      process.execPath,
      '-e',
      `require('node:net').createServer().listen(8090, '127.0.0.1', () => console.log('up'))`,
    ]);
    await firstWords(other, 'the listener');
    const taken = await world.tapyard(['forward', 'guest', '8090', '80']);
    expect(taken).toMatchObject({ code: 1 });
    expect(taken.stderr).toMatch(/127\.0\.0\.1:8090 is taken by \S+ \(process \d+\)[^]*\[PORT_TAKEN\]/);
    other.kill('SIGKILL');
    await new Promise((resolve) => other.once('close', resolve));
    // The file keeps what is wanted: the next core gets the port.
    expect((await rows()).find((row) => row.port === 8090)).toMatchObject({
      state: 'listening',
      error: null,
    });
    expect(await world.tapyard(['forward', 'guest', '8090', '--remove'])).toMatchObject({ code: 0 });

    const low = await world.tapyard(['forward', 'guest', '80']);
    expect(low.stderr).toContain('[PORT_DENIED]');
    expect(await world.tapyard(['forward', 'guest', '80', '--remove'])).toMatchObject({ code: 0 });
    const stranger = await world.tapyard(['forward', 'guest', '8082', '--address', '192.0.2.7']);
    expect(stranger.stderr).toContain('this computer has no address 192.0.2.7');
    expect(
      await world.tapyard(['forward', 'guest', '8082', '--address', '192.0.2.7', '--remove']),
    ).toMatchObject({
      code: 0,
    });
    expect(await world.tapyard(['forward', 'nobody', '1'])).toMatchObject({ code: 1 });
    expect(await world.tapyard(['forward', 'guest', '70000'])).toMatchObject({ code: 2 });
    expect(await world.tapyard(['forward', 'guest'])).toMatchObject({ code: 2 });
  });

  test('a port of the guest that refuses is told, and the forward goes on', async () => {
    expect(await world.tapyard(['forward', 'guest', '8083', '81'])).toMatchObject({ code: 0 });
    expect(await page('127.0.0.1:8083')).toContain('ECONNRESET');
    const row = (await rows()).find(({ port }) => port === 8083);
    expect(row).toMatchObject({ state: 'listening', error: { code: 'GUEST_UNREACHABLE' } });
    expect(await world.tapyard(['forward', 'guest', '8083', '--remove'])).toMatchObject({ code: 0 });
  });

  test('down leaves no forward, and a lab that is down has them wait', async () => {
    expect(await world.tapyard(['down', '--force'])).toMatchObject({ code: 0 });
    expect(world.processes()).toEqual([]);
    expect(world.leftFiles().filter((left) => left.includes('forward'))).toEqual([]);
    expect(await rows()).toMatchObject([{ port: 8080, state: 'waiting', target: null, pid: null }]);
  });
});
