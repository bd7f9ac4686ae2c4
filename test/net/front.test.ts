// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { briefCommands } from '../../electron/cli/brief.ts';
import { TapyardError } from '../../electron/contract/error.ts';
import { contractHash } from '../../electron/contract/hash.ts';
import type { Server } from '../../electron/contract/server.ts';
import { listenOn } from '../../electron/core/host/core-socket.ts';
import { FakeCore } from '../fakes/fake-core.ts';
import { seedLab } from '../fakes/labs.ts';
import { checkout, type Finished, finish, front } from '../world/world.ts';

/*
 * The native front beside the command in Node, as processes, against a core that a test listens as: the same
 * words, the same output, the same exit status. Where `node` is a stand-in
 * that only says so, the front has nobody to leave a command to.
 */

const program = join(checkout, 'dist/cli/tapyard.mjs');
const [contract = '', build = ''] = readFileSync(join(checkout, 'dist/cli/build-id'), 'utf8')
  .trim()
  .split(' ');

let dir: string;
let runtime: string;
let socket: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tyfront-'));
  runtime = join(dir, 'run');
  socket = join(runtime, 'tapyard', 'core.sock');
  mkdirSync(join(runtime, 'tapyard'), { recursive: true, mode: 0o700 });
  mkdirSync(join(dir, 'bin'));
  writeFileSync(join(dir, 'bin', 'node'), '#!/bin/sh\nprintf "NODE"; printf " <%s>" "$@"; exit 7\n');
  chmodSync(join(dir, 'bin', 'node'), 0o755);
});
afterEach(() => rmSync(dir, { recursive: true }));

type Ended = Pick<Finished, 'code' | 'stdout' | 'stderr'>;

function begin(command: readonly string[], more: Record<string, string> = {}): ChildProcess {
  const [name = '', ...args] = command;
  const env = {
    PATH: [dirname(process.execPath), process.env['PATH']].join(delimiter),
    HOME: dir,
    XDG_RUNTIME_DIR: runtime,
    ...more,
  };
  return spawn(name, args, { cwd: dir, env, stdio: ['pipe', 'pipe', 'pipe'] });
}

async function run(command: readonly string[], more: Record<string, string> = {}): Promise<Ended> {
  const { code, stdout, stderr } = await finish(begin(command, more), command.join(' '), {});
  // The one thing that differs from run to run.
  return { code, stdout: stdout.replaceAll(/"ms": [0-9.]+|[0-9.]+ ms/g, 'MS'), stderr };
}

const byNode = (words: readonly string[], more?: Record<string, string>): Promise<Ended> =>
  run([process.execPath, program, ...words], more);
const byFront = (words: readonly string[], more?: Record<string, string>): Promise<Ended> =>
  run([front, ...words], more);
/** By the front where it cannot become the real Node. */
const byFrontAlone = (words: readonly string[]): Promise<Ended> => byFront(words, { PATH: join(dir, 'bin') });
const node = (words: readonly string[]): Ended => ({
  code: 7,
  stdout: `NODE${[program, ...words].map((word) => ` <${word}>`).join('')}`,
  stderr: '',
});

/** Runs `body` while a core listens that serves the tutorial's lab, anew each time. */
async function withCore<Result>(
  body: (core: FakeCore) => Promise<Result>,
  options: { build?: string; server?: (core: FakeCore) => Partial<Server> } = {},
): Promise<Result> {
  const core = new FakeCore(seedLab(), {
    guestMs: 5,
    natMs: 5,
    failing: {
      'guest.pause': new TapyardError('GUEST_STATE', 'guest is shut off.', {
        hint: 'Start it.',
        subject: 'seed/guest',
      }),
    },
  });
  const command = briefCommands(options.build ?? build);
  const server: Server = {
    ...core.server,
    ...options.server?.(core),
    command: { run: (input, { signal }) => command(server, input, signal) },
  };
  const listening = await listenOn(socket, server);
  try {
    return await body(core);
  } finally {
    await listening.close();
  }
}

describe('the console of a guest that is off', () => {
  it('is refused, with its last words’ place', async () => {
    await withCore(async () => {
      expect(await byFront(['force-off', 'guest'])).toMatchObject({ code: 0 });
      const end = await byFront(['console', 'guest']);
      expect(end).toMatchObject({ code: 1, stdout: '' });
      expect(end.stderr).toMatch(/guest is shut off: .* \[GUEST_STATE\]\n.*tapyard start guest.*serial/);
    });
  });
});

describe('the front and Node', () => {
  it('are of the contract of these sources', () => {
    expect(contract).toBe(contractHash());
  });

  it.each([
    ['ls'],
    ['ls --json'],
    ['ls --lab none --json'],
    ['topology'],
    ['topology --json'],
    ['recipe'],
    ['start guest'],
    ['start nobody'],
    ['shutdown guest'],
    ['force-off guest'],
    ['pause guest'],
    ['resume guest'],
    ['reset guest'],
    ['nat br0 off'],
    ['nat br0 on'],
    ['nat br0 off --json'],
    ['nat br0'],
    ['nat br0 maybe'],
    ['strat guest'],
    ['ls --what'],
    ['--help'],
    ['nat --help'],
    ['--version'],
  ])('say the same of %s', async (line) => {
    const words = line.split(' ');
    const expected = await withCore(() => byNode(words));
    const got = await withCore(() => byFrontAlone(words));
    expect(got).toEqual(expected);
    expect(got.stdout + got.stderr).not.toBe('');
  });

  it('say the same without a core, and where one is of another version or does not speak', async () => {
    const words = ['ls', '--json'];
    const refusing = createServer((peer) => {
      const text = JSON.stringify({
        t: 'refused',
        error: new TapyardError('CONTRACT_MISMATCH', 'Another version.').toData(),
      });
      const frame = Buffer.alloc(5 + text.length);
      frame.writeUInt32BE(text.length, 1);
      frame.write(text, 5);
      peer.on('error', () => undefined).end(frame);
    });
    await new Promise<void>((resolve) => refusing.listen(socket, resolve));
    const mismatch = await byFront(words);
    expect(mismatch).toEqual(await byNode(words));
    expect(mismatch.code).toBe(1);
    expect(JSON.parse(mismatch.stdout)).toMatchObject({ error: { code: 'CONTRACT_MISMATCH' } });
    refusing.close();
    const rude = createServer((peer) => peer.on('error', () => undefined).end('SSH-2.0-OpenSSH_9.2\r\n'));
    await new Promise<void>((resolve) => rude.listen(socket, resolve));
    expect(await byFront(words)).toEqual(await byNode(words));
    rude.close();
    rmSync(socket, { force: true });
    const hosted = await byFront(words);
    expect(hosted).toEqual(await byNode(words));
    expect(hosted).toMatchObject({ code: 0, stdout: '[]\n' });
  });

  it('say the same of an unsafe runtime directory', async () => {
    await withCore(async () => {
      chmodSync(join(runtime, 'tapyard'), 0o755);
      const got = await byFront(['ls']);
      expect(got).toEqual(await byNode(['ls']));
      expect(got.stderr).toContain('[RUNTIME_DIR_UNSAFE]');
      chmodSync(join(runtime, 'tapyard'), 0o700);
    });
  });
});

describe('the front becomes Node', () => {
  it('with the same words, where the command is not brief', async () => {
    await withCore(async (core) => {
      const long = [
        [],
        ['up', 'a file'],
        ['console', 'guest'],
        ['--demo'],
        ['ssh', 'guest', '--', '-x é', ''],
      ];
      for (const words of long) expect(await byFrontAlone(words)).toEqual(node(words));
      expect(core.calls).toEqual([]);
    });
  });

  it('where no core runs, where the environment means another, and where a core is of another build', async () => {
    expect(await byFrontAlone(['ls'])).toEqual(node(['ls']));
    await withCore(async (core) => {
      const elsewhere = join(dir, 'elsewhere');
      mkdirSync(elsewhere, { mode: 0o700 });
      const other = { PATH: join(dir, 'bin'), XDG_RUNTIME_DIR: elsewhere };
      expect(await byFront(['force-off', 'guest'], other)).toEqual(node(['force-off', 'guest']));
      expect(core.calls).toEqual([]);
    });
    await withCore(
      async (core) => {
        expect(await byFrontAlone(['force-off', 'guest'])).toEqual(node(['force-off', 'guest']));
        expect(core.calls).toEqual([]);
      },
      { build: 'another' },
    );
  });

  it('and says what is missing where it cannot', async () => {
    const alone = await byFront(['up'], { PATH: join(dir, 'none') });
    expect(alone).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/node cannot be run/) });
  });
});

describe('the front', () => {
  it('leaves by Ctrl+C as Node does, and the core aborts what it was doing', async () => {
    let aborted: () => void = () => undefined;
    const wasAborted = new Promise<void>((resolve) => (aborted = resolve));
    let started: ChildProcess | undefined;
    await withCore(
      async () => {
        started = begin([front, 'start', 'guest'], { PATH: join(dir, 'bin') });
        const end = await finish(started, 'start', {});
        expect(end).toMatchObject({ code: null, signal: 'SIGINT' });
        await wasAborted;
      },
      {
        server: (core) => ({
          guest: {
            ...core.server.guest,
            start: (_, { signal }) =>
              new Promise((_done, fail) => {
                signal.addEventListener('abort', () => {
                  aborted();
                  fail(new TapyardError('ABORTED', 'aborted'));
                });
                started?.kill('SIGINT');
              }),
          },
        }),
      },
    );
  });

  it('is no failure when its reader has gone', async () => {
    await withCore(async () => {
      const done = await run([
        'bash',
        '-c',
        `(sleep 0.3; exec "${front}" topology --json) | true; echo "\${PIPESTATUS[0]}"`,
      ]);
      expect(done).toMatchObject({ code: 0, stdout: '0\n', stderr: '' });
    });
  });

  it('does nothing twice: where a core that was asked does not answer, it says so', async () => {
    let calls = 0;
    const failing = createServer((peer) => {
      const say = (message: unknown): void => {
        const text = JSON.stringify(message);
        const frame = Buffer.alloc(5 + text.length);
        frame.writeUInt32BE(text.length, 1);
        frame.write(text, 5);
        peer.write(frame);
      };
      peer
        .on('error', () => undefined)
        .on('data', (data) => {
          if (!data.includes('"call"')) return say({ t: 'hello', contract });
          calls += 1;
          if (calls === 2) say({ t: 'error', id: 1, error: { code: 'INTERNAL', message: '' } });
          peer.end();
        });
    });
    await new Promise<void>((resolve) => failing.listen(socket, resolve));
    for (const expected of [1, 2]) {
      const end = await byFrontAlone(['reset', 'guest']);
      expect(end).toMatchObject({ code: 1, stdout: '' });
      expect(end.stderr).toMatch(/it may have been done\. \[CORE_UNREACHABLE\]\n.*tapyard ls/);
      expect(calls).toBe(expected);
    }
    // A script that asked for JSON gets it.
    const end = await byFrontAlone(['ls', '--json']);
    expect(end).toMatchObject({ code: 1, stderr: expect.stringContaining('[CORE_UNREACHABLE]') });
    expect(JSON.parse(end.stdout)).toEqual({
      error: {
        code: 'CORE_UNREACHABLE',
        message: expect.stringContaining('may have been done'),
        hint: 'Look with: tapyard ls',
      },
    });
    failing.close();
  });
});
