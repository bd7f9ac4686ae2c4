// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { coreSocketPath, joinCore, tryLock, withCore } from '../../../electron/core/host/election.ts';
import { stubServer } from './stub-server.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tapyard-run-'));
  vi.stubEnv('XDG_RUNTIME_DIR', dir);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true });
});

const started = { count: 0 };
const start = () => {
  started.count += 1;
  return Promise.resolve({ server: stubServer(), close: () => Promise.resolve() });
};

describe('the lock', () => {
  it('is had by one at a time and goes with its holder, not with flock(1)', async () => {
    const path = join(dir, 'lock');
    const first = await tryLock(path);
    expect(first).toBeDefined();
    expect(await tryLock(path)).toBeUndefined();
    await first?.close();
    const again = await tryLock(path);
    expect(again).toBeDefined();
    await again?.close();
  });

  it('is not inherited by children that outlive its holder', async () => {
    const path = join(dir, 'lock');
    const first = await tryLock(path);
    const child = spawn('sleep', ['5'], { stdio: 'ignore' });
    await first?.close();
    const second = await tryLock(path);
    expect(second).toBeDefined();
    await second?.close();
    child.kill('SIGKILL');
  });
});

describe('the election', () => {
  it('makes exactly one host of many that start at once; the others are its clients', async () => {
    started.count = 0;
    const all = await Promise.all(Array.from({ length: 8 }, () => joinCore({ start, deadlineMs: 5000 })));
    expect(all.filter((one) => one.kind === 'host')).toHaveLength(1);
    expect(started.count).toBe(1);
    expect(statSync(coreSocketPath()).mode & 0o777).toBe(0o600);
    for (const one of all) {
      if (one.kind === 'client') one.channel.close();
    }
    for (const one of all) {
      if (one.kind === 'host') await one.close();
    }
    // Neither socket nor lock, nor the directory that they were in.
    expect(existsSync(join(dir, 'tapyard'))).toBe(false);
  });

  it('never has two hosts, however often they come and go', async () => {
    let hosting = 0;
    let most = 0;
    const counted = () => {
      most = Math.max(most, ++hosting);
      return Promise.resolve({
        server: stubServer(),
        close: () => {
          hosting -= 1;
          return Promise.resolve();
        },
      });
    };
    const comeAndGo = async (): Promise<void> => {
      for (let turn = 0; turn < 6; turn++) {
        const one = await joinCore({ start: counted, deadlineMs: 10_000 });
        if (one.kind === 'host') await one.close();
        else one.channel.close();
      }
    };
    await Promise.all(Array.from({ length: 6 }, comeAndGo));
    expect(most).toBe(1);
    expect(hosting).toBe(0);
  }, 20_000);

  it('lets a client take over when the host goes', async () => {
    const host = await joinCore({ start, deadlineMs: 1000 });
    const client = await joinCore({ start, deadlineMs: 1000 });
    if (host.kind !== 'host' || client.kind !== 'client') throw new Error('wrong roles');
    const gone = new Promise((resolve) => {
      client.channel.onClose = resolve;
    });
    await host.close();
    await gone;
    const next = await joinCore({ start, deadlineMs: 1000 });
    expect(next.kind).toBe('host');
    if (next.kind === 'host') await next.close();
  });

  it('gives up by its deadline when the holder of the lock never listens', async () => {
    const { makePrivateDir } = await import('../../../electron/core/host/runtime-dir.ts');
    const lock = await tryLock(join(makePrivateDir(join(dir, 'tapyard')), 'core.lock'));
    await expect(joinCore({ start, deadlineMs: 150 })).rejects.toMatchObject({ code: 'CORE_UNREACHABLE' });
    await lock?.close();
  });

  it('lets the lock go when the core cannot start', async () => {
    const fails = () => Promise.reject(new Error('no'));
    await expect(joinCore({ start: fails, deadlineMs: 100 })).rejects.toThrow('no');
    const next = await joinCore({ start, deadlineMs: 100 });
    expect(next.kind).toBe('host');
    if (next.kind === 'host') await next.close();
  });

  it('serves a command over the socket or in place', async () => {
    const options = { start, deadlineMs: 1000, role: 'cli' as const };
    const inPlace = await withCore(options, async ({ client }, hosted) => {
      const inner = await withCore(options, async (connection, innerHosted) => [
        innerHosted,
        await connection.client.check.run({}),
      ]);
      return [hosted, await client.check.run({}), inner];
    });
    expect(inPlace).toEqual([true, { results: [] }, [false, { results: [] }]]);
  });
});
