// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { makeSerialInput } from '../../../electron/core/console/serial-input.ts';
import { SerialRecord } from '../../../electron/core/console/serial-record.ts';
import { Guest } from '../../../electron/core/guest/guest.ts';
import { launch, qemuFailed, type Streams } from '../../../electron/core/guest/launch.ts';
import { guestDirs, type GuestSpec } from '../../../electron/core/guest/spec.ts';
import { choose } from '../../../electron/core/guest/accelerator.ts';
import { bootSector } from '../../../electron/core/guest/boot-sector.ts';

/* tapyard-tap and QEMU are shell scripts here: what is tested is what we make of their words and their ends. */

let box: string;
let streams: Streams;
beforeEach(async () => {
  box = mkdtempSync(join(tmpdir(), 'tapyard-launch-'));
  streams = {
    input: join(box, 'serial.in'),
    record: new SerialRecord(join(box, 'serial.log')),
    log: join(box, 'qemu.log'),
  };
  await makeSerialInput(streams.input, new AbortController().signal);
  vi.stubEnv('TAPYARD_LIBEXEC', box);
  vi.stubEnv('TAPYARD_ACCEL', 'tcg');
  for (const name of ['RUNTIME_DIR', 'STATE_HOME', 'DATA_HOME', 'CACHE_HOME']) vi.stubEnv(`XDG_${name}`, box);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(box, { recursive: true, force: true });
});

const spec: GuestSpec = {
  lab: 'seed',
  name: 'guest',
  image: { kind: 'micro', label: 'Micro guest' },
  memory: 1,
  cpus: 1,
  nics: [],
  netdSocket: '/nowhere/netd.sock',
};

function tap(script: string): void {
  writeFileSync(join(box, 'tapyard-tap'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}

it('gets the taps, becomes QEMU in a session of its own, and hears its end', async () => {
  tap(
    `echo '{"taps":[{"nic":0,"tap":"tap0","ifindex":7,"fd":10,"steps":[]}]}' >&3; exec 3>&-; exec sleep 30`,
  );
  const nic = { index: 0, network: 'br0', mac: '52:54:00:00:00:01', tap: 'tap0', fd: 10, vhostFd: undefined };
  const launched = launch(spec, [nic], ['qemu'], streams);
  expect(await launched.taps).toEqual([
    { nic: 0, network: 'br0', mac: '52:54:00:00:00:01', tap: 'tap0', ifindex: 7, fd: 10, steps: [] },
  ]);
  const stat = readFileSync(`/proc/${launched.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  // Fields 5 and 6 of proc(5): process group and session.
  expect([Number(stat[2]), Number(stat[3])]).toEqual([launched.pid, launched.pid]);
  launched.kill();
  expect(await launched.ended).toEqual({ kind: 'signal', signal: 'SIGKILL', number: 9 });
});

it('has the serial port’s input and record as its standard streams', async () => {
  writeFileSync(streams.record.path, 'earlier ');
  tap(`echo '{"taps":[]}' >&3; exec 3>&-; head -c 5; sleep 30`);
  const launched = launch(spec, [], ['qemu'], streams);
  await launched.taps;
  // Nobody else has it open, and it has not ended; what one writes and leaves is read.
  writeFileSync(streams.input, 'he');
  writeFileSync(streams.input, 'llo');
  await vi.waitFor(() => expect(readFileSync(streams.record.path, 'utf8')).toBe('earlier hello'));
  launched.kill();
  await launched.ended;
});

it.each([
  ['directory', (path: string) => mkdirSync(path), /EISDIR/],
  ['FIFO', (path: string) => execFileSync('mkfifo', [path]), /ENXIO/],
  ['device', (path: string) => symlinkSync('/dev/null', path), /not a regular file/],
])('starts nothing where a %s has the record’s name', (_, make, why) => {
  tap('echo started >>"$0".started');
  make(streams.record.path);
  expect(() => launch(spec, [], ['qemu'], streams)).toThrow(
    expect.objectContaining({ code: 'QEMU_FAILED', message: expect.stringMatching(why) }),
  );
  expect(readdirSync(box)).not.toContain('tapyard-tap.started');
});

it('passes netd’s error on as it is', async () => {
  tap(
    `echo '{"error":{"code":"NIC_IN_USE","message":"taken","hint":"end it","subject":"seed/guest/0"}}' >&3; exit 1`,
  );
  await expect(launch(spec, [], ['qemu'], streams).taps).rejects.toMatchObject({
    code: 'NIC_IN_USE',
    message: 'taken',
    hint: 'end it',
    subject: 'seed/guest/0',
  });
});

it.each([
  ['says nothing and ends', 'echo cannot do it >&2; exit 3', 'QEMU_FAILED', /cannot do it/],
  ['reports no JSON', 'echo hello >&3; sleep 9', 'QEMU_FAILED', /did not report/],
  ['reports something else', `echo '{"taps":[1]}' >&3; sleep 9`, 'INTERNAL', /unknown/],
])('fails where tapyard-tap %s', async (_, script, code, message) => {
  tap(script);
  const launched = launch(spec, [], ['qemu'], streams);
  await expect(launched.taps).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  await launched.ended;
});

it('keeps QEMU’s last words, of this start only', async () => {
  writeFileSync(streams.log, 'an older failure\n');
  tap(`echo '{"taps":[]}' >&3; echo 'qemu: bad option' >&2; exit 1`);
  const launched = launch(spec, [], ['qemu'], streams);
  expect(qemuFailed('seed/guest', await launched.ended, launched.lastWords(), '/q.log')).toMatchObject({
    code: 'QEMU_FAILED',
    message: 'QEMU ended with exit code 1 while starting seed/guest: qemu: bad option',
  });
});

it('a start that fails leaves no process, no socket directory, and says why in the status', async () => {
  tap(`echo '{"taps":[]}' >&3; echo 'qemu: bad option' >&2; exit 1`);
  const guest = new Guest(spec, guestDirs('seed', 'guest'));
  await expect(guest.start()).rejects.toMatchObject({ code: 'QEMU_FAILED' });
  expect(guest.status).toMatchObject({
    state: 'shut off',
    pid: null,
    taps: [],
    error: { code: 'QEMU_FAILED' },
  });
  expect(() => readFileSync(guest.dirs.runtime)).toThrow(/ENOENT/);
  await guest.release();
});

it('a start that is aborted kills what it started and leaves no error', async () => {
  tap(`echo $$ >${box}/pid; sleep 30`);
  const guest = new Guest(spec, guestDirs('seed', 'guest'));
  const abort = new AbortController();
  const starting = guest.start({ signal: abort.signal });
  const second = guest.start();
  await vi.waitFor(() => readFileSync(join(box, 'pid')));
  abort.abort();
  await expect(starting).rejects.toMatchObject({ code: 'ABORTED' });
  await expect(second).rejects.toMatchObject({ code: 'ABORTED' });
  expect(guest.status).toMatchObject({ state: 'shut off', reason: 'the start was stopped', error: null });
  expect(() => process.kill(Number(readFileSync(join(box, 'pid'), 'utf8')), 0)).toThrow(/ESRCH/);
  await guest.release();
});

it('names a missing QEMU and a missing helper', async () => {
  const guest = new Guest(spec, guestDirs('seed', 'guest'));
  await expect(guest.start()).rejects.toMatchObject({ code: 'NETD_MISSING' });
  vi.stubEnv('PATH', box);
  await expect(guest.start()).rejects.toMatchObject({ code: 'QEMU_MISSING' });
  await guest.release();
});

it('says what is wrong with an image that is not there', async () => {
  const guest = new Guest(
    { ...spec, image: { kind: 'file', path: '/gone.qcow2', label: 'gone.qcow2' } },
    guestDirs('seed', 'guest'),
  );
  await expect(guest.start()).rejects.toMatchObject({ code: 'IMAGE_MISSING', subject: '/gone.qcow2' });
  await guest.release();
});

it('has a boot sector for the probe, and believes KVM only after it ran', () => {
  expect(bootSector()).toHaveLength(512);
  expect(bootSector().readUInt16LE(510)).toBe(0xaa55);
  expect(choose('runs')).toMatchObject({ use: 'kvm', cpu: 'host' });
  expect(choose('runs without arch-capabilities')).toMatchObject({
    use: 'kvm',
    cpu: 'host,-arch-capabilities',
  });
  expect(choose('fails')).toEqual({
    use: 'tcg',
    cpu: 'max',
    why: 'KVM is present but does not run guests here; using TCG',
  });
});
