// SPDX-License-Identifier: Apache-2.0
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { diskFull, writeFileAtomic } from '../../../electron/core/host/atomic-write.ts';
import {
  endProcess,
  isAlive,
  lookUp,
  parseStat,
  runProgram,
  signal,
  uidOf,
} from '../../../electron/core/host/process.ts';
import { findProgram, ownProgram, qemuProgram } from '../../../electron/core/host/programs.ts';
import {
  cacheDir,
  dataDir,
  guestDir,
  labDir,
  makePrivateDir,
  ownUid,
  runtimeDir,
  shortName,
  socketPath,
  stateDir,
} from '../../../electron/core/host/runtime-dir.ts';

let box: string;
beforeEach(() => {
  box = mkdtempSync(join(tmpdir(), 'tapyard-host-'));
});
afterEach(() => {
  rmSync(box, { recursive: true, force: true });
});

const code = (wanted: string) => expect.objectContaining({ code: wanted });

describe('directories of data and state', () => {
  it.runIf(ownUid() === 0)(
    'of root are never in a user’s home, where links could lead root elsewhere',
    () => {
      const home = join(box, 'home');
      mkdirSync(home);
      chownSync(home, 12345, 12345);
      const { homedir } = userInfo();
      for (const environment of [
        { HOME: home },
        { HOME: homedir, XDG_STATE_HOME: join(home, '.local/state'), XDG_DATA_HOME: join(home, 'x/y') },
      ]) {
        expect(stateDir(environment)).toBe(join(homedir, '.local/state/tapyard'));
        expect(dataDir(environment)).toBe(join(homedir, '.local/share/tapyard'));
      }
      expect(stateDir({ HOME: box })).toBe(join(box, '.local/state/tapyard'));
    },
  );
});

describe('runtime directory', () => {
  it('is made 0700 below XDG_RUNTIME_DIR', () => {
    const dir = runtimeDir({ XDG_RUNTIME_DIR: box });
    expect(dir).toBe(join(box, 'tapyard'));
    expect(lstatSync(dir).mode & 0o777).toBe(0o700);
  });

  it.each(['', 'relative/path', undefined])('ignores XDG_RUNTIME_DIR=%j', (value) => {
    const usual = [`/run/user/${ownUid()}/tapyard`, `/tmp/tapyard-${ownUid()}`];
    const there = usual.filter((path) => existsSync(path));
    const dir = runtimeDir({ XDG_RUNTIME_DIR: value });
    expect(usual).toContain(dir);
    // The real one of this user: leave it as it was.
    if (!there.includes(dir)) rmdirSync(dir);
  });

  it('says that a directory named there is missing', () => {
    expect(() => runtimeDir({ XDG_RUNTIME_DIR: join(box, 'gone') })).toThrow(code('RUNTIME_DIR_MISSING'));
  });

  it('refuses a symbolic link, a file, and a directory that others may enter', () => {
    mkdirSync(join(box, 'elsewhere'), { mode: 0o700 });
    symlinkSync(join(box, 'elsewhere'), join(box, 'link'));
    writeFileSync(join(box, 'file'), '');
    mkdirSync(join(box, 'open'));
    chmodSync(join(box, 'open'), 0o755);
    for (const name of ['link', 'file', 'open']) {
      expect(() => makePrivateDir(join(box, name)), name).toThrow(code('RUNTIME_DIR_UNSAFE'));
    }
  });

  it.runIf(ownUid() === 0)('refuses a directory of another user', () => {
    const dir = join(box, 'tapyard');
    mkdirSync(dir, { mode: 0o700 });
    chownSync(dir, 12345, 12345);
    expect(() => runtimeDir({ XDG_RUNTIME_DIR: box })).toThrow(code('RUNTIME_DIR_UNSAFE'));
  });

  it('refuses an XDG_RUNTIME_DIR in which others can put something else in its place', () => {
    const open = join(box, 'open');
    mkdirSync(open);
    chmodSync(open, 0o777);
    expect(() => runtimeDir({ XDG_RUNTIME_DIR: open })).toThrow(code('RUNTIME_DIR_UNSAFE'));
    expect(existsSync(join(open, 'tapyard'))).toBe(false);
    // As /tmp: what is ours there nobody else can move.
    chmodSync(open, 0o1777);
    expect(runtimeDir({ XDG_RUNTIME_DIR: open })).toBe(join(open, 'tapyard'));
  });

  it.runIf(ownUid() === 0)(
    'is not made by root in the directory of a user, which sudo -E leaves to it',
    () => {
      chownSync(box, 12345, 12345);
      expect(() => runtimeDir({ XDG_RUNTIME_DIR: box })).toThrow(code('RUNTIME_DIR_UNSAFE'));
      expect(existsSync(join(box, 'tapyard'))).toBe(false);
    },
  );

  it('shortens long names the same way every time, and different ones differently', () => {
    expect(shortName('a'.repeat(24))).toBe('a'.repeat(24));
    const long = shortName('a'.repeat(63));
    expect(long).toHaveLength(24);
    expect(long).toBe(shortName('a'.repeat(63)));
    expect(long).not.toBe(shortName('a'.repeat(62)));
    expect(guestDir('seed', 'guest', { XDG_RUNTIME_DIR: box })).toBe(
      join(labDir('seed', { XDG_RUNTIME_DIR: box }), 'guests/guest'),
    );
  });

  it('fits the longest names into a socket path below /run/user', () => {
    const dir = `/run/user/4294967294/tapyard/labs/${shortName('l'.repeat(32))}/guests/${shortName('g'.repeat(63))}`;
    expect(socketPath(dir, 'vnc.sock').length).toBeLessThanOrEqual(107);
  });

  it('refuses a socket path of 108 bytes and takes one of 107', () => {
    expect(socketPath(`/${'d'.repeat(97)}`, 'a.socket')).toHaveLength(107);
    expect(() => socketPath(`/${'d'.repeat(98)}`, 'a.socket')).toThrow(code('RUNTIME_PATH_TOO_LONG'));
    // Bytes count, not characters.
    expect(() => socketPath(`/${'é'.repeat(60)}`, 'a.socket')).toThrow(/130 bytes/);
  });

  it('follows the XDG variables and ignores relative ones', () => {
    expect(dataDir({ XDG_DATA_HOME: '/d', HOME: '/h' })).toBe('/d/tapyard');
    expect(dataDir({ XDG_DATA_HOME: 'x', HOME: '/h' })).toBe('/h/.local/share/tapyard');
    expect(stateDir({ HOME: '/h' })).toBe('/h/.local/state/tapyard');
    expect(cacheDir({ XDG_CACHE_HOME: '', HOME: '/h' })).toBe('/h/.cache/tapyard');
  });
});

describe('writeFileAtomic', () => {
  it('keeps the mode, follows a link, and leaves nothing beside', async () => {
    const target = join(box, 'target');
    writeFileSync(target, 'old', { mode: 0o640 });
    chmodSync(target, 0o640);
    symlinkSync('target', join(box, 'link'));
    await writeFileAtomic(join(box, 'link'), 'new');
    expect(readFileSync(target, 'utf8')).toBe('new');
    expect(statSync(target).mode & 0o777).toBe(0o640);
    expect(lstatSync(join(box, 'link')).isSymbolicLink()).toBe(true);
    expect(readdirSync(box).sort()).toEqual(['link', 'target']);
  });

  it('removes what a writer left that was killed, and nothing else', async () => {
    const dead = spawnSync('true').pid;
    const others = [
      `.file.${process.pid}.0123456789ab.tmp`,
      `.file.${dead}.tmp`,
      `.file2.${dead}.0123456789ab.tmp`,
    ];
    const old = new Date(Date.now() - 600_000);
    for (const name of [...others, `.file.${dead}.0123456789ab.tmp`]) {
      writeFileSync(join(box, name), '');
      utimesSync(join(box, name), old, old);
    }
    // A writer in a container, whose number is nobody's here, is at it.
    others.push(`.file.${dead}.ba9876543210.tmp`);
    writeFileSync(join(box, `.file.${dead}.ba9876543210.tmp`), '');
    await writeFileAtomic(join(box, 'file'), 'x');
    expect(readdirSync(box).sort()).toEqual([...others, 'file'].sort());
  });

  it('makes a new file with the mode it is told', async () => {
    await writeFileAtomic(join(box, 'key'), 'x', { mode: 0o600 });
    expect(statSync(join(box, 'key')).mode & 0o777).toBe(0o600);
  });

  it('fails without a trace where it cannot write', async () => {
    writeFileSync(join(box, 'file'), '');
    await expect(writeFileAtomic(join(box, 'file/below'), 'x')).rejects.toMatchObject({ code: 'ENOTDIR' });
    expect(readdirSync(box)).toEqual(['file']);
  });

  it('calls a full disk DISK_FULL', () => {
    const full = diskFull(Object.assign(new Error('no space'), { code: 'ENOSPC' }), '/x/y');
    expect(full).toMatchObject({ code: 'DISK_FULL', subject: '/x/y' });
    expect(diskFull(new Error('other'), '/x')).not.toMatchObject({ code: 'DISK_FULL' });
  });
});

describe('processes', () => {
  it('reads a stat line whose name has spaces and parentheses', () => {
    const line = '42 (a) b) S 1 42 42 0 -1 4194560 1 2 3 4 70 30 0 0 20 0 1 0 98765 1 2 3';
    expect(parseStat(line)).toEqual({ pid: 42, startTime: 98765, state: 'S', cpuTicks: 100 });
    expect(parseStat('')).toBeUndefined();
    expect(parseStat('42 (x) S')).toBeUndefined();
  });

  it('knows itself, and no process with another start time', () => {
    const own = lookUp(process.pid);
    expect(own).toBeDefined();
    expect(uidOf(process.pid)).toBe(ownUid());
    expect(isAlive({ pid: process.pid, startTime: own?.startTime ?? 0 })).toBe(true);
    const other = { pid: process.pid, startTime: (own?.startTime ?? 0) + 1 };
    expect(isAlive(other)).toBe(false);
    // Would end this test's own process if the start time were not looked at.
    expect(signal(other, 'SIGKILL')).toBe(false);
  });

  it('ends one that ignores SIGTERM', async () => {
    const child = spawn('sh', ['-c', 'trap "" TERM; echo ready; while :; do sleep 0.05; done']);
    await new Promise((resolve) => child.stdout.once('data', resolve));
    const { pid = 0 } = child;
    const startTime = lookUp(pid)?.startTime ?? 0;
    expect(await endProcess({ pid, startTime }, 100)).toBe(true);
    expect(lookUp(pid)).toBeUndefined();
  });

  it('runs a program with a deadline and an abort, without a shell', async () => {
    expect(await runProgram('/bin/echo', ['$(id)'], { deadlineMs: 5000 })).toMatchObject({
      code: 0,
      stdout: '$(id)\n',
    });
    await expect(runProgram('/bin/sleep', ['9'], { deadlineMs: 50 })).rejects.toMatchObject({
      code: 'DEADLINE',
    });
    const abort = new AbortController();
    const running = runProgram('/bin/sleep', ['9'], { deadlineMs: 9000, abort: abort.signal });
    abort.abort();
    await expect(running).rejects.toMatchObject({ code: 'ABORTED' });
  });
});

describe('programs', () => {
  it('finds a program on absolute PATH entries only', () => {
    writeFileSync(join(box, 'tool'), '#!/bin/sh\n', { mode: 0o755 });
    writeFileSync(join(box, 'text'), '', { mode: 0o644 });
    expect(findProgram('tool', { PATH: `relative::${box}` })).toBe(join(box, 'tool'));
    expect(findProgram('text', { PATH: box })).toBeUndefined();
    expect(findProgram('sh', {})).toBeDefined();
  });

  it('names the packages of a missing QEMU', () => {
    expect(() => qemuProgram('qemu-system-x86_64', { PATH: box })).toThrow(code('QEMU_MISSING'));
    expect(() => qemuProgram('qemu-img', { PATH: box })).toThrow(
      expect.objectContaining({ hint: expect.stringContaining('qemu-utils') }),
    );
  });

  it('looks in TAPYARD_LIBEXEC and nowhere else when it is set', () => {
    expect(() => ownProgram('tapyard-tap', { TAPYARD_LIBEXEC: box })).toThrow(code('NETD_MISSING'));
    writeFileSync(join(box, 'tapyard-tap'), '', { mode: 0o755 });
    expect(ownProgram('tapyard-tap', { TAPYARD_LIBEXEC: box })).toBe(join(box, 'tapyard-tap'));
  });
});
