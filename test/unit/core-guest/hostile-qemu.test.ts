// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Guest } from '../../../electron/core/guest/guest.ts';
import { guestDirs, type GuestSpec } from '../../../electron/core/guest/spec.ts';

/*
 * A program in QEMU's place that speaks QMP as it likes: a guest that has broken out of its machine can. What it
 * must not do is bring the core down, or get away from a `force off`.
 */

/** Listens where QEMU would; `say` is what it writes to the monitor once it was asked for its status. */
const program = (say: string): string => `
const { createServer } = require('node:net');
require('node:fs').closeSync(3);
process.on('SIGTERM', () => {});
const path = (id) => process.argv.join(' ').match(new RegExp('socket,id=' + id + ',path=([^,]+),'))[1];
createServer((socket) => {
  socket.on('error', () => {});
  socket.write('{"QMP":{"version":{"qemu":{"major":7,"minor":2,"micro":0}},"capabilities":[]}}\\n');
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk;
    for (let end = text.indexOf('\\n'); end !== -1; end = text.indexOf('\\n')) {
      const { execute, id } = JSON.parse(text.slice(0, end));
      text = text.slice(end + 1);
      if (execute === 'quit') continue;
      const answer = execute === 'query-status' ? { status: 'running' } : {};
      socket.write(JSON.stringify({ id, return: answer }) + '\\n');
      if (execute === 'query-status') setTimeout(() => socket.write(${JSON.stringify(say)}), 50);
    }
  });
}).listen(path('qmp'));
`;

const spec: GuestSpec = {
  lab: 'seed',
  name: 'guest',
  image: { kind: 'micro', label: 'Micro guest' },
  memory: 1,
  cpus: 1,
  nics: [],
  netdSocket: '/nowhere/netd.sock',
};

let box: string;
beforeEach(() => {
  box = mkdtempSync(join(tmpdir(), 'tapyard-hostile-'));
  vi.stubEnv('TAPYARD_LIBEXEC', box);
  vi.stubEnv('TAPYARD_ACCEL', 'tcg');
  for (const name of ['RUNTIME_DIR', 'STATE_HOME', 'DATA_HOME', 'CACHE_HOME']) vi.stubEnv(`XDG_${name}`, box);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(box, { recursive: true, force: true });
});

async function started(say: string): Promise<{ guest: Guest; pid: number }> {
  writeFileSync(join(box, 'qemu.cjs'), program(say));
  const script = `#!/bin/sh\necho '{"taps":[]}' >&3\nexec ${process.execPath} ${box}/qemu.cjs "$@"\n`;
  writeFileSync(join(box, 'tapyard-tap'), script, { mode: 0o755 });
  const guest = new Guest(spec, guestDirs('seed', 'guest'));
  await guest.start();
  const { pid } = guest.status;
  if (pid === null) throw new Error('the guest has no process');
  return { guest, pid };
}

// A moment later, when Node has waited for it.
const gone = async (pid: number): Promise<void> =>
  vi.waitFor(() => expect(() => process.kill(pid, 0)).toThrow(/ESRCH/));
const lost = async (guest: Guest): Promise<void> =>
  vi.waitFor(() => expect(guest.status.error).toMatchObject({ code: 'QMP_FAILED' }), { timeout: 5000 });

describe('a QEMU whose monitor says garbage', () => {
  it('is shown with its error, takes no verb in silence, and is forced off all the same', async () => {
    const { guest, pid } = await started('%%%\n');
    await lost(guest);
    expect(guest.status).toMatchObject({ state: 'running', pid });
    await expect(guest.pause()).rejects.toMatchObject({ code: 'QMP_FAILED' });
    await guest.forceOff();
    await gone(pid);
    expect(guest.status).toMatchObject({ state: 'shut off', pid: null, error: null });
    await guest.release();
  }, 15_000);

  it('is ended by down', async () => {
    const { guest, pid } = await started('%%%\n');
    await lost(guest);
    await guest.stop(20_000);
    await gone(pid);
    await guest.release();
  }, 15_000);

  it('that ends by itself is seen to have ended', async () => {
    const { guest, pid } = await started('%%%\n');
    await lost(guest);
    process.kill(pid, 'SIGKILL');
    await vi.waitFor(() => expect(guest.status).toMatchObject({ state: 'crashed', pid: null }), {
      timeout: 3000,
    });
    await guest.release();
  }, 15_000);

  it('does not bring the core down by an event that is none', async () => {
    const reason = { toString: 1, valueOf: 1 };
    const event = { event: 'SHUTDOWN', data: { reason }, timestamp: { seconds: 1, microseconds: 1 } };
    const { guest, pid } = await started(`${JSON.stringify(event)}\n`);
    await vi.waitFor(() => expect(guest.status.state).toBe('shutting down'));
    await guest.forceOff();
    await gone(pid);
    await guest.release();
  }, 15_000);

  it('is not taken for off by the next core, which cannot speak to it either', async () => {
    const { guest, pid } = await started('');
    // The first core keeps the monitor, so the second hears no greeting in time.
    process.kill(pid, 'SIGSTOP');
    const second = new Guest(spec, guestDirs('seed', 'guest'));
    await expect(second.adopt()).rejects.toMatchObject({ code: 'QMP_FAILED' });
    expect(second.status).toMatchObject({ state: 'running', pid, error: { code: 'QMP_FAILED' } });
    await second.stop(0);
    await gone(pid);
    await second.release();
    await guest.release();
  }, 15_000);
});
