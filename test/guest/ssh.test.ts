// SPDX-License-Identifier: Apache-2.0
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkout, finish, firstWords, until, World } from '../world/world.ts';

/* Nothing here has a route to the guest: its network is in a namespace of the lab's own. */
describe('a guest of the private scope, from its host', () => {
  let world: World;

  beforeAll(async () => {
    world = World.create();
    const file = world.file(
      'tapyard.yaml',
      readFileSync(path.join(checkout, 'assets/labs/seed.yaml'), 'utf8'),
    );
    const up = await world.tapyard(['up', file], { timeout: 90_000 });
    expect(up, `${up.stdout}\n${up.stderr}`).toMatchObject({ code: 0 });
    // Its address comes before its sshd.
    let last = '';
    await until('sshd answers', 30_000, async () => {
      const { code, stderr } = await ssh('true');
      last = stderr;
      return code === 0;
    }).catch((thrown: unknown) => {
      throw new Error(last, { cause: thrown });
    });
  });
  afterAll(() => world?.close());

  const ssh = (...command: string[]): ReturnType<World['tapyard']> =>
    world.tapyard(['ssh', 'guest', '--', ...command]);

  test('ssh runs a command there, and its words and status come back', async () => {
    expect(await ssh('hostname')).toEqual({ code: 0, signal: null, stdout: 'guest\n', stderr: '' });
    expect(await ssh('echo to stderr >&2; exit 7')).toMatchObject({ code: 7, stderr: 'to stderr\n' });
    expect((await world.run(['ip', 'route', 'get', '192.168.57.2'])).stdout).not.toContain('br0');
  });

  test('a transfer both ways is intact, and ends where its sides end', async () => {
    const text = randomBytes(2 * 1024 * 1024).toString('base64');
    const child = world.start(world.tapyardCommand(['ssh', 'guest', '--', 'tee /tmp/sent']));
    const back = await finish(child, 'tee', { input: text });
    expect(back.code, back.stderr).toBe(0);
    expect(back.stdout === text).toBe(true);
    const sum = createHash('sha256').update(text).digest('hex');
    expect((await ssh('sha256sum /tmp/sent')).stdout).toContain(sum);
  });

  test('what the guest says is captured as pcapng, and counted at the end', async () => {
    const file = path.join(world.home('user'), 'guest.pcapng');
    const capture = world.start(world.tapyardCommand(['capture', 'guest', '-o', file]));
    const ended = finish(capture, 'the capture', {});
    // The head is written once the capture is on.
    await until('the capture begins', 10_000, () => existsSync(file) && readFileSync(file).length > 0);
    expect(await ssh('echo spoken by the guest')).toMatchObject({ code: 0 });
    capture.kill('SIGINT');
    const { code, stderr } = await ended;
    expect(stderr).toMatch(/tap0: [1-9]\d* packets, 0 of them lost/);
    expect(code).toBe(0);
    const bytes = readFileSync(file);
    expect(bytes.subarray(0, 4).toString('hex')).toBe('0a0d0d0a');
    // ssh’s own greeting, which is not encrypted, from the guest’s port.
    expect(bytes.includes('SSH-2.0-')).toBe(true);

    // Only the user may read what others said, and a slip of the pen costs him nothing.
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(await world.tapyard(['capture', 'lo0', '-o', file])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no interface lo0 of its own'),
    });
    expect(readFileSync(file).equals(bytes)).toBe(true);
    expect(await world.tapyard(['capture', 'guest', '--nic', '7'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('It has eth0 to eth0.'),
    });
  });

  test('a forward serves the guest’s web page on loopback, to many at once', async () => {
    const socket = path.join(world.runtimeDir('user'), 'tapyard/labs/seed/netd/netd.sock');
    const words = ['forward', '--netd', socket, '--lab', 'seed', '--listen', '127.0.0.1:8080'];
    const command = ['/mnt/tapyard/native/target/release/tapyard-tap', ...words, '--to', '192.168.57.2:80'];
    const forward = world.start(command);
    await firstWords(forward, 'the forward');
    const fetch = `Promise.all(Array.from({ length: 20 }, () => fetch('http://127.0.0.1:8080/').then((r) => r.text()))).then((all) => console.log(all.filter((page) => page.includes('guest')).length))`;
    expect(await world.must([process.execPath, '-e', fetch])).toBe('20\n');
    const second = await world.run(command);
    expect(second).toMatchObject({ code: 1 });
    expect(JSON.parse(second.stdout)).toMatchObject({
      error: { code: 'PORT_TAKEN', subject: '127.0.0.1:8080' },
    });
    expect(second.stderr).toContain(`127.0.0.1:8080 is taken by tapyard-tap (process `);
    forward.kill('SIGTERM');
  });

  // No core runs but for as long as a command hosts one, and the others use that.
  test('commands given at once all have their answers, whichever of them is done first', async () => {
    const ls = (): ReturnType<World['tapyard']> => world.tapyard(['ls', '--json']);
    const all = await Promise.all(
      Array.from({ length: 8 }, (_, nth) => (nth % 2 === 0 ? ls() : ssh('hostname'))),
    );
    for (const { code, stderr } of all) expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  test('a console goes on in a core of its own when the command whose core it used is done', async () => {
    const socket = path.join(world.runtimeDir('user'), 'tapyard/core.sock');
    const host = world.start(world.tapyardCommand(['log', '--follow']));
    const hostEnded = finish(host, 'the log', {});
    await until('there is a core', 20_000, () => existsSync(socket));
    const words = world.tapyardCommand(['console', 'guest']).map((word) => `'${word}'`);
    const terminal = world.start(['script', '-qec', words.join(' '), '/dev/null']);
    const terminalEnded = once(terminal, 'exit');
    let seen = '';
    terminal.stdout?.on('data', (chunk: Buffer) => (seen += chunk.toString('latin1')));
    const asks = async (sum: string, answer: string): Promise<void> => {
      terminal.stdin?.write(`echo $((${sum}))\r`);
      await until(`the guest answers ${answer}`, 30_000, () => seen.includes(answer));
    };
    await asks('40000 + 2000', '42000');
    host.kill('SIGINT');
    expect(await hostEnded).toMatchObject({ code: 0 });
    // What is typed before the console has seen the end of that core goes with it.
    await until('the console has a core of its own', 20_000, () => existsSync(socket));
    await asks('50000 + 3000', '53000');
    expect(seen.split('42000')).toHaveLength(2);
    terminal.stdin?.write('\u001d');
    expect(await terminalEnded).toEqual([0, null]);
  });

  test('what cannot be reached is told: another port, no such guest', async () => {
    const unknown = await world.tapyard(['ssh', 'nobody']);
    expect(unknown).toMatchObject({ code: 1 });
    expect(unknown.stderr).toContain('no guest “nobody”');
    const socket = path.join(world.runtimeDir('user'), 'tapyard/labs/seed/netd/netd.sock');
    const dial = (...to: string[]): ReturnType<World['run']> =>
      world.run([
        '/mnt/tapyard/native/target/release/tapyard-tap',
        'dial',
        '--netd',
        socket,
        '--lab',
        'seed',
        ...to,
      ]);
    const refused = await dial('192.168.57.2', '81');
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toContain('192.168.57.2 refuses connections to port 81');
    expect((await dial('192.168.57.1', '53')).stderr).toContain("the host's own");
    expect((await dial('203.0.113.1', '80')).stderr).toContain('in none of the networks');
  });
});
