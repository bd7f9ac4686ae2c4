// SPDX-License-Identifier: Apache-2.0
import { build } from 'esbuild';
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { bootSector, exitPort, reachedLongMode } from '../../electron/core/guest/boot-sector.ts';
import { Guest } from '../../electron/core/guest/guest.ts';
import { type GuestSpec } from '../../electron/core/guest/spec.ts';
import { runProgram } from '../../electron/core/host/process.ts';
import { qemuProgram } from '../../electron/core/host/programs.ts';
import { diskPath } from '../../electron/core/image/overlay.ts';
import { resolveImage } from '../../electron/core/image/image.ts';
import { labKey } from '../../electron/core/image/ssh-key.ts';
import { bootableIso, diskThatSays } from './boot-media.ts';
import { Viewer } from './viewer.ts';

/* Real QEMU under TCG, without NICs: no netd is needed. Guests with a network are tested by the main job. */

let box: string;
const guests: Guest[] = [];

beforeAll(() => {
  box = mkdtempSync(join(tmpdir(), 'tapyard-guest-'));
  vi.stubEnv('TAPYARD_ACCEL', 'tcg');
  for (const name of ['RUNTIME_DIR', 'STATE_HOME', 'DATA_HOME', 'CACHE_HOME']) vi.stubEnv(`XDG_${name}`, box);
});
afterEach(async () => {
  for (const guest of guests.splice(0)) {
    await guest.forceOff();
    await guest.release();
  }
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(box, { recursive: true, force: true });
});

function makeGuest(name: string, more: Partial<GuestSpec> = {}): Guest {
  const guest = new Guest({
    lab: 'test',
    name,
    image: resolveImage('micro', '/'),
    memory: 128 * 1024 * 1024,
    cpus: 1,
    nics: [],
    netdSocket: join(box, 'no-netd.sock'),
    ...more,
  });
  guests.push(guest);
  return guest;
}

const becomes = async (guest: Guest, state: string, timeout = 10_000): Promise<void> => {
  await vi.waitFor(() => expect(guest.status.state).toBe(state), { timeout, interval: 5 });
};

async function atPrompt(guest: Guest): Promise<{ viewer: Viewer; type: (line: string) => void }> {
  const viewer = new Viewer();
  const intake = await guest.serial.open({ from: -1, tail: 0 }, viewer);
  await guest.start();
  await viewer.sees(`root@${guest.spec.name}:~#`);
  return {
    viewer,
    type: (line) => {
      intake.write(Buffer.from(`${line}\n`));
    },
  };
}

describe('a micro guest', () => {
  it('starts, answers on serial and screen, shuts down by its power button, and leaves nothing', async () => {
    const guest = makeGuest('one');
    const states: string[] = [];
    guest.onChange(() => {
      if (states.at(-1) !== guest.status.state) states.push(guest.status.state);
    });
    const { viewer, type } = await atPrompt(guest);
    const { pid, sockets } = guest.status;
    expect(guest.status).toMatchObject({ state: 'running', accelerator: 'tcg', taps: [], error: null });
    expect(readFileSync(`/proc/${pid}/comm`, 'utf8').trim()).toBe('ty:one');

    // The key is put there while the prompt already answers.
    type('echo sum-$((6*7)); until cat /root/.ssh/authorized_keys 2>&-; do sleep 0.1; done');
    await viewer.sees('sum-42');
    const key = readFileSync(join(guest.dirs.labData, '.ssh/id_ed25519.pub'), 'utf8').trim();
    await viewer.sees(key);

    const screens = [new Viewer(), new Viewer()];
    for (const screen of screens) await guest.openScreen(screen);
    for (const screen of screens) await screen.sees('RFB 003.008\n');

    // No TCP or UDP port is its own.
    const ports = ['tcp', 'tcp6', 'udp', 'udp6']
      .map((name) => readFileSync(`/proc/${pid}/net/${name}`, 'utf8'))
      .join('');
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
      if (inode !== undefined) expect(ports).not.toContain(` ${inode} `);
    }

    await guest.shutdown();
    await becomes(guest, 'shut off');
    expect(guest.status).toMatchObject({ reason: 'as asked', pid: null, accelerator: null });
    expect(states).toEqual(['starting', 'running', 'shutting down', 'shut off']);
    expect(existsSync(`/proc/${pid}`)).toBe(false);
    for (const path of [...Object.values(sockets), guest.dirs.runtime])
      expect(existsSync(path), path).toBe(false);
    await vi.waitFor(() => expect(screens.every(({ ended }) => ended)).toBe(true));

    // What it said stays readable, and its next start goes on where it ended.
    const said = viewer.text;
    const offset = viewer.next;
    await guest.start();
    await vi.waitFor(() => expect(viewer.text.slice(said.length)).toContain('root@one:~#'), {
      timeout: 20_000,
    });
    expect(viewer.next).toBeGreaterThan(offset ?? 0);
  });

  it('pauses, resumes, and tells panicked from reset', async () => {
    const guest = makeGuest('two');
    const { viewer, type } = await atPrompt(guest);
    await guest.pause();
    await becomes(guest, 'paused');
    await guest.pause();
    await expect(guest.shutdown()).rejects.toMatchObject({ code: 'GUEST_STATE' });
    await expect(guest.start()).rejects.toMatchObject({ code: 'GUEST_STATE' });
    await guest.resume();
    await becomes(guest, 'running');

    type('until grep -q pvpanic_pci /proc/modules; do sleep 0.1; done; echo c >/proc/sysrq-trigger');
    await becomes(guest, 'crashed');
    expect(guest.status.reason).toBe('panicked');
    expect(guest.status.pid).not.toBeNull();
    viewer.text = '';
    await guest.reset();
    await becomes(guest, 'running');
    await viewer.sees('root@two:~#');
    // A reboot from inside stays inside.
    const { pid } = guest.status;
    viewer.text = '';
    type('reboot -f');
    await viewer.sees('root@two:~#');
    expect(guest.status).toMatchObject({ state: 'running', pid });
    // A reboot under TCG takes twice as long as a first boot.
  }, 150_000);

  it('is crashed within 1 s of kill -9, and starts again', async () => {
    const guest = makeGuest('three');
    await guest.start();
    process.kill(guest.status.pid ?? 0, 'SIGKILL');
    await becomes(guest, 'crashed', 1000);
    expect(guest.status).toMatchObject({ reason: 'killed by signal 9', pid: null, taps: [] });
    expect(existsSync(guest.dirs.runtime)).toBe(false);
    await guest.start();
    expect(guest.status.state).toBe('running');
    await guest.forceOff();
    expect(guest.status).toMatchObject({ state: 'shut off', reason: 'forced off' });
    await guest.forceOff();
  });

  it('is started once by two starts at once, and not a second time by another core', async () => {
    const guest = makeGuest('four');
    await Promise.all([guest.start(), guest.start()]);
    const { pid } = guest.status;
    await guest.start();
    expect(guest.status.pid).toBe(pid);
    const other = new Guest(guest.spec, guest.dirs);
    // The monitor is taken, so this one cannot even adopt it.
    await expect(other.start()).rejects.toMatchObject({ code: 'QMP_FAILED' });
    await other.release();
    expect(guest.status).toMatchObject({ state: 'running', pid });
  });

  it('that is aborted at any moment of its start leaves nothing', async () => {
    const guest = makeGuest('five');
    for (const ms of [0, 5, 20, 40, 60, 80]) {
      const abort = new AbortController();
      const starting = guest.start({ signal: abort.signal });
      setTimeout(() => abort.abort(), ms);
      const outcome = await starting.then(
        () => 'started',
        (thrown: unknown) => thrown,
      );
      // On a quick computer the last one may have been done.
      if (outcome === 'started') await guest.forceOff();
      else expect(outcome).toMatchObject({ code: 'ABORTED' });
      expect(guest.status).toMatchObject({ state: 'shut off', pid: null, error: null });
      expect(existsSync(guest.dirs.runtime)).toBe(false);
      expect(processesOf(guest)).toEqual([]);
    }
  });

  it('is forced off when it does not listen to its power button in time', async () => {
    const guest = makeGuest('six');
    await guest.start();
    await guest.stop(100);
    expect(guest.status).toMatchObject({ state: 'shut off', reason: 'forced off' });
  });
});

/** Pids of processes whose command line names the guest's runtime directory. */
function processesOf(guest: Guest): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(guest.dirs.runtime);
      } catch {
        return false;
      }
    });
}

describe('another core', () => {
  it('takes over what a killed one left, with all that was said meanwhile', async () => {
    // A core of its own process, so that it can be killed.
    const checkout = join(import.meta.dirname, '../..');
    // In the checkout, where the bundle finds the micro guest and tapyard-tap as the real one does.
    const program = join(checkout, 'dist/test/one-guest.mjs');
    await build({
      entryPoints: [join(checkout, 'test/guest/one-guest.ts')],
      outfile: program,
      bundle: true,
      platform: 'node',
      format: 'esm',
      logLevel: 'error',
    });
    const core = spawn(process.execPath, [program, 'seven'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await firstLine(core);

    const guest = makeGuest('seven');
    core.kill('SIGKILL');
    await new Promise((resolve) => core.once('exit', resolve));
    // Without any core, the guest goes on talking.
    const log = guest.serial.record.path;
    const before = readFileSync(log).length;
    await vi.waitFor(() => expect(readFileSync(log).length).toBeGreaterThan(before + 200), {
      timeout: 10_000,
    });

    expect(await guest.adopt()).toBe(true);
    expect(guest.status).toMatchObject({ state: 'running', accelerator: 'tcg', taps: [] });
    expect(guest.status.argv?.[0]).toMatch(/qemu-system-x86_64$/);
    const { pid } = guest.status;
    const viewer = new Viewer();
    const intake = await guest.serial.open({ from: 0, tail: 0 }, viewer);
    // The guest's shell misses a Ctrl+C that comes between two commands of its loop.
    await vi.waitFor(
      async () => {
        intake.write(Buffer.from('\x03\necho end-$((1+1))\n'));
        await viewer.sees('end-2', 2000);
      },
      { timeout: 50_000 },
    );
    // The counter that it printed all the time has every number once.
    const numbers = [...viewer.text.matchAll(/^n(\d+)\r$/gm)].map((match) => Number(match[1]));
    expect(numbers.length).toBeGreaterThan(30);
    expect(numbers).toEqual(numbers.map((_, index) => index));
    expect(viewer.text).toBe(readFileSync(log, 'latin1').slice(0, viewer.text.length));

    process.kill(pid ?? 0, 'SIGKILL');
    await becomes(guest, 'crashed', 1000);
    expect(guest.status.reason).toBe('QEMU is gone');
  });

  it('knows a guest that was killed while no core looked from one that shut down, and does not forget', async () => {
    const guest = makeGuest('unseen');
    await guest.start();
    const { pid } = guest.status;
    await guest.release();
    process.kill(pid ?? 0, 'SIGKILL');
    await vi.waitFor(() => expect(processesOf(guest)).toEqual([]), { timeout: 5000 });
    let since: number | undefined;
    for (const next of [makeGuest('unseen'), makeGuest('unseen')]) {
      expect(await next.adopt()).toBe(false);
      expect(next.status).toMatchObject({
        state: 'crashed',
        reason: 'QEMU was killed while Tapyard was not running',
        pid: null,
      });
      since ??= next.status.since;
      expect(next.status.since).toBe(since);
      expect(existsSync(next.dirs.runtime)).toBe(false);
    }

    const again = makeGuest('unseen');
    await atPrompt(again);
    await vi.waitFor(
      async () => {
        await again.shutdown();
        expect(await again.serial.lastLine()).toContain('Power down');
      },
      { timeout: 10_000, interval: 200 },
    );
    await again.release();
    await vi.waitFor(() => expect(processesOf(again)).toEqual([]), { timeout: 10_000 });
    const last = makeGuest('unseen');
    expect(await last.adopt()).toBe(false);
    expect(last.status.state).toBe('shut off');
  });

  it('does not take another process for a guest', async () => {
    const guest = makeGuest('eight');
    await guest.start();
    const note = readFileSync(join(guest.dirs.runtime, 'guest.json'), 'utf8');
    await guest.forceOff();
    mkdirSync(guest.dirs.runtime, { recursive: true, mode: 0o700 });
    // The number of a process that runs, with another start time.
    writeFileSync(join(guest.dirs.runtime, 'guest.json'), note.replace(/"pid":\d+/, `"pid":${process.pid}`));
    const next = makeGuest('eight');
    expect(await next.adopt()).toBe(false);
    expect(next.status).toMatchObject({ state: 'shut off', pid: null });
    expect(existsSync(next.dirs.runtime)).toBe(false);
  });

  it('says that a QEMU runs which nobody wrote down, and starts no second one', async () => {
    const guest = makeGuest('nine');
    await guest.start();
    const path = join(guest.dirs.runtime, 'guest.json');
    const note = readFileSync(path);
    rmSync(path);
    const next = new Guest(guest.spec, guest.dirs);
    await expect(next.adopt()).rejects.toMatchObject({ code: 'STATE_FILE_INVALID' });
    await expect(next.start()).rejects.toMatchObject({ code: 'STATE_FILE_INVALID' });
    await next.release();
    writeFileSync(path, note);
    expect(guest.status.state).toBe('running');
  });
});

async function firstLine(child: ChildProcess): Promise<string> {
  return await new Promise((resolve, reject) => {
    child.stdout?.once('data', (chunk: Buffer) => resolve(chunk.toString()));
    child.once('exit', (code) => reject(new Error(`the core ended with ${code}`)));
  });
}

describe('an image of the user', () => {
  const sha = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

  it('boots through an overlay whatever its name, and is never written to', async () => {
    const path = join(box, 'odd, "name"=x:ü%s.raw');
    writeFileSync(path, diskThatSays('raw disk here'));
    const before = sha(path);
    const guest = makeGuest('disk', { image: resolveImage(path, box), memory: 32 * 1024 * 1024 });
    const viewer = new Viewer();
    await guest.serial.open({ from: 0, tail: 0 }, viewer);
    await guest.start();
    await viewer.sees('raw disk here');
    const disk = diskPath(guest.dirs.data);
    const info = await runProgram(qemuProgram('qemu-img'), ['info', '-U', '--output=json', disk], {
      deadlineMs: 10_000,
    });
    expect(JSON.parse(info.stdout)).toMatchObject({
      'backing-filename': path,
      'backing-filename-format': 'raw',
    });
    await guest.forceOff();
    expect(sha(path)).toBe(before);

    // The disk stays, and is not taken for one of another image.
    await guest.start();
    await guest.forceOff();
    const other = join(box, 'other.raw');
    writeFileSync(other, diskThatSays('other'));
    guest.spec = { ...guest.spec, image: resolveImage(other, box) };
    await expect(guest.start()).rejects.toMatchObject({ code: 'IMAGE_UNSUPPORTED', subject: disk });
  });

  it('may be a qcow2 with a backing file beside it', async () => {
    writeFileSync(join(box, 'base.raw'), diskThatSays('from the base'));
    const path = join(box, 'top.qcow2');
    const made = await runProgram(
      qemuProgram('qemu-img'),
      ['create', '-q', '-f', 'qcow2', '-b', 'base.raw', '-F', 'raw', path],
      { deadlineMs: 10_000 },
    );
    expect(made).toMatchObject({ code: 0 });
    const guest = makeGuest('chain', { image: resolveImage('top.qcow2', box), memory: 32 * 1024 * 1024 });
    const viewer = new Viewer();
    await guest.serial.open({ from: 0, tail: 0 }, viewer);
    await guest.start();
    await viewer.sees('from the base');
  });

  it('may be an ISO, which boots beside an empty disk', async () => {
    writeFileSync(join(box, 'boot.iso'), bootableIso('from the ISO'));
    const guest = makeGuest('iso', { image: resolveImage('boot.iso', box), memory: 32 * 1024 * 1024 });
    const viewer = new Viewer();
    await guest.serial.open({ from: 0, tail: 0 }, viewer);
    await guest.start();
    await viewer.sees('from the ISO');
    expect(existsSync(diskPath(guest.dirs.data))).toBe(true);
  });

  it('that qemu-img cannot use is refused in its words, without a trace', async () => {
    const path = join(box, 'broken.qcow2');
    const head = Buffer.alloc(1024);
    head.write('QFI\xfb\0\0\0\x03', 'latin1');
    head.writeUInt32BE(104, 100);
    writeFileSync(path, head);
    const guest = makeGuest('broken', { image: resolveImage(path, box) });
    await expect(guest.start()).rejects.toMatchObject({ code: 'QEMU_IMG_FAILED' });
    expect(readdirSync(guest.dirs.data)).toEqual([]);
  });
});

it('the probe’s boot sector reaches 64-bit mode under TCG', async () => {
  const filename = join(box, 'boot-sector');
  writeFileSync(filename, Buffer.concat([bootSector(), Buffer.alloc(1024 * 1024 - 512)]));
  const blockdev = { driver: 'raw', 'node-name': 'boot', file: { driver: 'file', filename } };
  const args = [
    '-nodefaults -display none -machine q35 -accel tcg -m 16 -no-reboot'.split(' '),
    ['-blockdev', JSON.stringify(blockdev)],
    `-device virtio-blk-pci,drive=boot -device isa-debug-exit,iobase=${exitPort},iosize=1`.split(' '),
  ].flat();
  const { code } = await runProgram(qemuProgram('qemu-system-x86_64'), args, { deadlineMs: 20_000 });
  expect(code).toBe(reachedLongMode);
});

it('the lab’s key is one that ssh-keygen reads', async () => {
  const { privateKey, publicKey } = await labKey(join(box, 'key'), 'test');
  const { code, stdout } = await runProgram('/usr/bin/ssh-keygen', ['-y', '-f', privateKey], {
    deadlineMs: 5000,
  });
  expect(code).toBe(0);
  expect(stdout.split(' ')[1]).toBe(readFileSync(publicKey, 'utf8').split(' ')[1]);
});
