// SPDX-License-Identifier: Apache-2.0
import {
  appendFileSync,
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { TapyardError } from '../../../electron/contract/error.ts';
import type { ByteSink } from '../../../electron/contract/server.ts';
import { openScreen } from '../../../electron/core/console/screen.ts';
import { makeSerialInput } from '../../../electron/core/console/serial-input.ts';
import { keptFrom, SerialRecord } from '../../../electron/core/console/serial-record.ts';
import { SerialConsole } from '../../../electron/core/console/serial.ts';

/** Waits for what comes soon; a busy machine takes its time. */
const soon = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 15_000 });

const MiB = 1024 * 1024;
let box: string;
let log: string;
const cleanups: (() => unknown)[] = [];

beforeEach(() => {
  box = mkdtempSync(join(tmpdir(), 'tapyard-console-'));
  log = join(box, 'serial.log');
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  rmSync(box, { recursive: true, force: true });
});

/** A viewer that keeps what it gets and checks that offsets neither jump nor repeat. */
class Viewer implements ByteSink {
  credit: number;
  onCredit: (() => void) | undefined;
  bytes = Buffer.alloc(0);
  skips: number[] = [];
  ended = false;
  error: TapyardError | undefined;
  next: number | undefined;

  constructor(credit = Number.MAX_SAFE_INTEGER) {
    this.credit = credit;
  }
  data(chunk: Uint8Array, offset: number): void {
    expect(chunk.length).toBeLessThanOrEqual(this.credit);
    expect(chunk.length).toBeGreaterThan(0);
    if (this.next !== undefined) expect(offset).toBe(this.next);
    this.next = offset + chunk.length;
    this.credit -= chunk.length;
    this.bytes = Buffer.concat([this.bytes, chunk]);
  }
  skip(offset: number): void {
    this.skips.push(offset);
    this.next = offset;
  }
  end(error?: TapyardError): void {
    this.ended = true;
    this.error = error;
  }
  grant(credit: number): void {
    this.credit += credit;
    this.onCredit?.();
  }
  get text(): string {
    return this.bytes.toString();
  }
}

async function listen(path: string, onSocket: (socket: Socket) => void): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    cleanups.push(() => socket.destroy());
    onSocket(socket);
  });
  cleanups.push(() => server.close());
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return server;
}

/** An input as QEMU has it: read from when `reading`, else from `read()` on, until `gone()`. */
async function qemuInput(
  reading = true,
): Promise<{ path: string; typed: () => string; read: () => void; gone: () => void }> {
  const path = join(box, 'serial.in');
  await makeSerialInput(path, new AbortController().signal);
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  let typed = '';
  let socket: Socket | undefined;
  const read = (): void => {
    socket = new Socket({ fd, readable: true, writable: false });
    socket.on('data', (chunk) => (typed += chunk.toString()));
  };
  const gone = (): void => {
    if (socket === undefined) closeSync(fd);
    else socket.destroy();
  };
  if (reading) read();
  cleanups.push(gone);
  return { path, typed: () => typed, read, gone };
}

function serialConsole(): SerialConsole {
  const serial = new SerialConsole(log);
  cleanups.push(() => serial.close());
  return serial;
}

describe('the serial record', () => {
  it('keeps between 4 and 5 MiB, whatever its size', () => {
    expect(keptFrom(4 * MiB)).toBe(0);
    expect(keptFrom(5 * MiB - 1)).toBe(0);
    expect(keptFrom(5 * MiB)).toBe(MiB);
    for (const size of [7 * MiB + 5, 100 * MiB, 2 ** 40 + 3]) {
      expect(size - keptFrom(size)).toBeGreaterThanOrEqual(4 * MiB);
      expect(size - keptFrom(size)).toBeLessThan(5 * MiB);
    }
  });

  it('gives the disk space at its front back and keeps all offsets', async () => {
    writeFileSync(log, Buffer.alloc(8 * MiB, 'x'));
    const record = new SerialRecord(log);
    cleanups.push(() => record.close());
    await record.cap();
    const { size, blocks } = statSync(log);
    expect(size).toBe(8 * MiB);
    expect(blocks * 512).toBeLessThanOrEqual(5 * MiB);
    expect(await record.read(MiB, 10)).toBeUndefined();
    expect(Buffer.from((await record.read(4 * MiB, 3)) ?? []).toString()).toBe('xxx');
  });
});

describe('a serial viewer', () => {
  it('gets the tail, then what comes, without gap or double', async () => {
    writeFileSync(log, 'old line\nlast');
    const viewer = new Viewer();
    const intake = await serialConsole().open({ from: -1, tail: 4 }, viewer);
    await soon(() => expect(viewer.text).toBe('last'));
    for (let line = 0; line < 50; line++) {
      appendFileSync(log, `line ${line}\n`);
      if (line % 10 === 0) await delay(5);
    }
    const all = `last${Array.from({ length: 50 }, (_, line) => `line ${line}\n`).join('')}`;
    await soon(() => expect(viewer.text).toBe(all));
    expect(viewer.next).toBe('old line\n'.length + all.length);
    intake.close();
  });

  it('can come before the guest’s first start, and come back where it left', async () => {
    const serial = serialConsole();
    const first = new Viewer();
    const intake = await serial.open({ from: 0, tail: 0 }, first);
    appendFileSync(log, 'hello ');
    await soon(() => expect(first.text).toBe('hello '));
    intake.close();
    appendFileSync(log, 'world');
    const second = new Viewer();
    await serial.open({ from: 6, tail: 0 }, second);
    await soon(() => expect(second.text).toBe('world'));
    expect(first.text).toBe('hello ');
  });

  it('is never sent more than its credit, and goes on when it grows', async () => {
    writeFileSync(log, 'abcdefghij');
    const viewer = new Viewer(3);
    await serialConsole().open({ from: 0, tail: 0 }, viewer);
    await soon(() => expect(viewer.text).toBe('abc'));
    await delay(30);
    expect(viewer.text).toBe('abc');
    viewer.grant(100);
    await soon(() => expect(viewer.text).toBe('abcdefghij'));
  });

  it('that fell behind the cap is told where it goes on', async () => {
    writeFileSync(log, Buffer.alloc(6 * MiB, 'x'));
    const viewer = new Viewer();
    await serialConsole().open({ from: 10, tail: 0 }, viewer);
    await soon(() => expect(viewer.next).toBe(6 * MiB));
    expect(viewer.skips).toEqual([2 * MiB]);
    expect(viewer.bytes.length).toBe(4 * MiB);
  });

  it('with an offset from a record that is gone begins at the end', async () => {
    writeFileSync(log, 'short');
    const viewer = new Viewer();
    await serialConsole().open({ from: 1_000_000, tail: 0 }, viewer);
    appendFileSync(log, '!');
    await soon(() => expect(viewer.text).toBe('!'));
  });

  it('gets what was written byte by byte, also at once after a byte', async () => {
    const viewer = new Viewer();
    await serialConsole().open({ from: 0, tail: 0 }, viewer);
    const text = Array.from({ length: 1000 }, (_, line) => `${line}\n`).join('');
    for (let at = 0; at < text.length; at++) {
      appendFileSync(log, text.charAt(at));
      // The last byte of a burst has no event after it.
      if (at % 100 === 0) await soon(() => expect(viewer.next).toBe(at + 1));
    }
    await soon(() => expect(viewer.text).toBe(text));
  });

  it('sees the record that was begun anew in the place of a removed one', async () => {
    writeFileSync(log, 'old words');
    const serial = serialConsole();
    const before = new Viewer();
    const intake = await serial.open({ from: 0, tail: 0 }, before);
    await soon(() => expect(before.text).toBe('old words'));
    intake.close();
    rmSync(log);
    const after = new Viewer();
    await serial.open({ from: -1, tail: 100 }, after);
    appendFileSync(log, 'new');
    await soon(() => expect(after.text).toBe('new'));
    appendFileSync(log, ' words');
    await soon(() => expect(after.text).toBe('new words'));
    expect(await serial.lastLine()).toBe('new words');
  });

  it('ends when the guest is removed, and no new one begins', async () => {
    const serial = serialConsole();
    const viewer = new Viewer();
    await serial.open({ from: 0, tail: 0 }, viewer);
    await serial.close();
    expect(viewer).toMatchObject({ ended: true, error: undefined });
    await expect(serial.open({ from: 0, tail: 0 }, new Viewer())).rejects.toMatchObject({
      code: 'CONSOLE_CLOSED',
    });
  });

  it('types into the guest, and a slow one holds up neither QEMU nor others', async () => {
    const { path, typed } = await qemuInput();
    const serial = serialConsole();
    serial.attach(path);
    const slow = new Viewer(0);
    const quick = new Viewer();
    await serial.open({ from: 0, tail: 0 }, slow);
    const intake = await serial.open({ from: 0, tail: 0 }, quick);
    intake.write(Buffer.from('ls\n'));
    await soon(() => expect(typed()).toBe('ls\n'));
    // A script may type too.
    writeFileSync(path, 'pwd\n');
    await soon(() => expect(typed()).toBe('ls\npwd\n'));
    const piece = Buffer.alloc(100_000, 'y');
    for (let round = 0; round < 30; round++) appendFileSync(log, piece);
    await soon(() => expect(quick.bytes.length).toBe(3_000_000));
    expect(slow.bytes.length).toBe(0);
  });

  it('keeps at most some MiB for a guest that does not read, whole and in order', async () => {
    const { path, read, typed } = await qemuInput(false);
    const serial = serialConsole();
    serial.attach(path);
    const pieces = Array.from({ length: 40 }, (_, piece) => String.fromCharCode(65 + piece).repeat(50_000));
    for (const piece of pieces) {
      serial.write(Buffer.from(piece));
      await delay(1);
    }
    read();
    await soon(() => expect(typed().length).toBeGreaterThan(MiB));
    await delay(50);
    const kept = Math.ceil(typed().length / 50_000);
    expect(kept).toBeLessThan(40);
    expect(typed()).toBe(pieces.slice(0, kept).join(''));
  });

  it('types nothing where nothing reads, and says so where there is no input', async () => {
    const { path, gone } = await qemuInput();
    const serial = serialConsole();
    serial.attach(path);
    gone();
    for (let round = 0; round < 3; round++) {
      serial.write(Buffer.from('x'));
      await delay(5);
    }
    const attach = (other: string): void => {
      serial.attach(other);
    };
    expect(() => attach(path)).toThrow(/ENXIO/);
    writeFileSync(log, '');
    expect(() => attach(log)).toThrow(/not a FIFO/);
    expect(readFileSync(log, 'utf8')).toBe('');
    expect(() => attach(join(box, 'none'))).toThrow(expect.objectContaining({ code: 'CONSOLE_CLOSED' }));
  });

  it('caps the record while a guest floods it', async () => {
    const { path } = await qemuInput();
    const serial = serialConsole();
    serial.attach(path);
    const viewer = new Viewer();
    await serial.open({ from: 0, tail: 0 }, viewer);
    const piece = Buffer.alloc(MiB / 2, 'z');
    for (let round = 0; round < 24; round++) {
      appendFileSync(log, piece);
      await delay(5);
    }
    await soon(() => expect(statSync(log).blocks * 512).toBeLessThanOrEqual(5 * MiB));
    expect(statSync(log).size).toBe(12 * MiB);
    await soon(() => expect(viewer.next).toBe(12 * MiB));
    // Not one zero of a hole was taken for what the guest said.
    expect(viewer.bytes.includes(0)).toBe(false);
  });
});

describe('the tail', () => {
  it('is the last line of the record, of a guest that is off too', async () => {
    const serial = serialConsole();
    expect(await serial.lastLine()).toBe('');
    writeFileSync(log, 'boot\nlogin: ');
    expect(await serial.lastLine()).toBe('login:');
    appendFileSync(log, 'root\n# ');
    expect(await serial.lastLine()).toBe('#');
    writeFileSync(log, Buffer.concat([Buffer.alloc(6 * MiB), Buffer.from('\r\nend')]));
    expect(await serial.lastLine()).toBe('end');
  });
});

describe('the screen', () => {
  it('is one connection a viewer, both ways, and ends with QEMU', async () => {
    const path = join(box, 'vnc.sock');
    const sockets: Socket[] = [];
    let heard = '';
    await listen(path, (socket) => {
      sockets.push(socket);
      socket.write('RFB 003.008\n');
      socket.on('data', (chunk) => (heard += chunk.toString()));
    });
    const [one, two] = [new Viewer(), new Viewer()];
    const intake = await openScreen(path, one);
    await openScreen(path, two);
    await soon(() => expect([one.text, two.text]).toEqual(['RFB 003.008\n', 'RFB 003.008\n']));
    intake.write(Buffer.from('RFB 003.008\n'));
    await soon(() => expect(heard).toBe('RFB 003.008\n'));
    intake.close();
    sockets[1]?.end('bye');
    await soon(() => expect(two.ended).toBe(true));
    expect(two.text).toBe('RFB 003.008\nbye');
    expect(one.ended).toBe(false);
  });

  it('stops QEMU, not the memory, when the viewer is slow', async () => {
    const path = join(box, 'vnc.sock');
    let qemu: Socket | undefined;
    await listen(path, (socket) => (qemu = socket));
    const viewer = new Viewer(1000);
    await openScreen(path, viewer);
    await soon(() => expect(qemu).toBeDefined());
    qemu?.write(Buffer.alloc(4 * MiB, 'p'));
    await soon(() => expect(viewer.bytes.length).toBe(1000));
    await delay(50);
    expect(viewer.bytes.length).toBe(1000);
    // The kernel's socket buffer and one chunk; the rest waits in QEMU.
    expect(qemu?.writableLength).toBeGreaterThan(2 * MiB);
    viewer.grant(10 * MiB);
    await soon(() => expect(viewer.bytes.length).toBe(4 * MiB));
  });

  it('of a guest that is off is refused', async () => {
    await expect(openScreen(join(box, 'none.sock'), new Viewer())).rejects.toMatchObject({
      code: 'CONSOLE_CLOSED',
    });
  });
});
