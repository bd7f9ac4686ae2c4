// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { coreSocketPath, joinCore, tryLock, withCore } from '../../../electron/core/host/election.ts';
import { openLimit } from '../../../electron/contract/dispatch.ts';
import type { Server } from '../../../electron/contract/server.ts';
import { stubServer } from './stub-server.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tapyard-run-'));
  vi.stubEnv('XDG_RUNTIME_DIR', dir);
  delete started.server;
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true });
});

const started: { count: number; server?: Server } = { count: 0 };
const start = () => {
  started.count += 1;
  return Promise.resolve({ server: started.server ?? stubServer(), close: () => Promise.resolve() });
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

  describe('when a command that hosts the core is done before others are', () => {
    const cli = { start, deadlineMs: 5000, role: 'cli' as const };
    const later = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

    /** Runs `other` in the core of a command, which is done as soon as `other` has begun. */
    async function whileHostEnds<Result>(
      other: (begun: () => void) => Promise<Result>,
      onStay?: () => void,
    ): Promise<Result> {
      let begun = (): void => undefined;
      const begins = new Promise<void>((resolve) => (begun = resolve));
      let hosting = (): void => undefined;
      const hosts = new Promise<void>((resolve) => (hosting = resolve));
      const host = withCore({ ...cli, ...(onStay && { onStay }) }, async (_, hosted) => {
        expect(hosted).toBe(true);
        hosting();
        await begins;
      });
      await hosts;
      const result = await other(begun);
      await host;
      return result;
    }

    it('waits for those that end by themselves', async () => {
      const seen = await whileHostEnds((begun) =>
        withCore(cli, async ({ client }, hosted) => {
          begun();
          await later(200);
          return [hosted, await client.check.run({})];
        }),
      );
      expect(seen).toEqual([false, { results: [] }]);
    });

    it('says that it stays where that takes longer than a moment', { timeout: 30_000 }, async () => {
      let told = 0;
      await whileHostEnds(
        (begun) =>
          withCore(cli, async () => {
            begun();
            await vi.waitUntil(() => told > 0, { timeout: 20_000 });
          }),
        () => (told += 1),
      );
      expect(told).toBe(1);
    });

    it('waits as well where it has failed itself', async () => {
      let member: Promise<unknown> | undefined;
      const host = withCore(cli, async () => {
        await new Promise<void>((begun) => {
          member = withCore(cli, async ({ client }) => {
            begun();
            await later(200);
            return client.check.run({});
          });
        });
        throw new Error('failed');
      });
      await expect(host).rejects.toThrow('failed');
      await expect(member).resolves.toEqual({ results: [] });
    });

    it('waits for the answer to a window, and not for the window', async () => {
      let asked = (): void => undefined;
      const server = stubServer();
      const check = {
        ...server.check,
        run: async () => {
          asked();
          await later(200);
          return { results: [] };
        },
      };
      started.server = { ...server, check };
      const seen = await whileHostEnds((begun) =>
        withCore({ ...cli, role: 'window' }, async ({ client, closed }) => {
          asked = begun;
          expect(await client.check.run({})).toEqual({ results: [] });
          return closed;
        }),
      );
      expect(seen).toMatchObject({ code: 'CORE_UNREACHABLE' });
    });

    it('waits for none that lasts: that one goes on by itself, in a core of its own', async () => {
      const turns: boolean[] = [];
      await whileHostEnds((begun) =>
        withCore({ ...cli, lasting: true }, async ({ closed }, hosted) => {
          turns.push(hosted);
          if (hosted) return;
          begun();
          throw await closed;
        }),
      );
      expect(turns).toEqual([false, true]);
    });

    it('does not call one again whose connection ends by a fault, which the next would have too', async () => {
      let turns = 0;
      const seen = await whileHostEnds((begun) =>
        withCore({ ...cli, lasting: true }, async ({ client, closed }) => {
          turns += 1;
          if (turns > 3) return 'called again and again';
          for (let open = 0; open <= openLimit; open++) client.tables.acts(() => undefined);
          const error = await closed;
          begun();
          throw error;
        }).catch((thrown: unknown) => thrown),
      );
      expect(seen).toMatchObject({ code: 'BUSY' });
      expect(turns).toBe(1);
    });
  });

  it('asks again where a core ends before it has said hello', async () => {
    const { makePrivateDir } = await import('../../../electron/core/host/runtime-dir.ts');
    makePrivateDir(join(dir, 'tapyard'));
    let asked = 0;
    const ending = createServer((peer) => {
      asked += 1;
      ending.close();
      peer.destroy();
    });
    await new Promise<void>((resolve) => ending.listen(coreSocketPath(), resolve));
    const hosted = await withCore({ start, deadlineMs: 5000, role: 'cli' }, async (_, own) => own);
    expect([asked, hosted]).toEqual([1, true]);
  });
});
