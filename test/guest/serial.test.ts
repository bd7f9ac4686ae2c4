// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { Guest } from '../../electron/core/guest/guest.ts';
import { resolveImage } from '../../electron/core/image/image.ts';
import { countingText, diskThatCounts } from './boot-media.ts';
import { Viewer } from './viewer.ts';

/* Real QEMU under TCG whose guest is a boot sector that floods its serial port with numbered lines. */

let box: string;
const guests: Guest[] = [];

beforeAll(() => {
  box = mkdtempSync(join(tmpdir(), 'tapyard-serial-'));
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

/** A guest that says `countingText(lines)` at every start. */
function guestThatCounts(name: string, lines: number): Guest {
  const path = join(box, `${name}.raw`);
  writeFileSync(path, diskThatCounts(lines));
  const guest = new Guest({
    lab: 'test',
    name,
    image: resolveImage(path, box),
    memory: 32 * 1024 * 1024,
    cpus: 1,
    nics: [],
    netdSocket: join(box, 'no-netd.sock'),
  });
  guests.push(guest);
  return guest;
}

async function sees(viewer: Viewer, bytes: number): Promise<void> {
  await vi.waitFor(() => expect(viewer.text.length).toBeGreaterThanOrEqual(bytes), {
    timeout: 50_000,
    interval: 20,
  });
}

/** The first line that is not the same, for a message that can be read. */
function firstOdd(text: string, wanted: string): string | undefined {
  const [lines, right] = [text.split('\n'), wanted.split('\n')];
  const at = right.findIndex((line, index) => lines[index] !== line);
  return at === -1 && lines.length === right.length ? undefined : `line ${at}: ${lines[at]} for ${right[at]}`;
}

it('a guest that floods has each of its bytes in the record once, and at each viewer', async () => {
  const lines = 40_000;
  const guest = guestThatCounts('flood', lines);
  const wanted = countingText(lines);
  const viewers = [new Viewer(), new Viewer()];
  for (const viewer of viewers) await guest.serial.open({ from: 0, tail: 0 }, viewer);
  await guest.start();
  for (const viewer of viewers) await sees(viewer, wanted.length);
  await guest.forceOff();
  const record = readFileSync(guest.serial.record.path, 'latin1');
  for (const text of [record, ...viewers.map((viewer) => viewer.text)]) {
    expect(firstOdd(text, wanted)).toBeUndefined();
  }
});

it('one that is started again, and one that the next core takes over in the middle, go on without gap or double', async () => {
  const lines = 40_000;
  const first = guestThatCounts('again', lines);
  const wanted = countingText(lines);
  const viewer = new Viewer();
  await first.serial.open({ from: 0, tail: 0 }, viewer);
  await first.start();
  await sees(viewer, wanted.length);
  await first.forceOff();
  await first.start();
  await sees(viewer, wanted.length + 1000);
  await first.release();
  // Nobody is there, and the guest goes on.
  await delay(50);
  const next = new Guest(first.spec, first.dirs);
  guests.push(next);
  expect(await next.adopt()).toBe(true);
  const later = new Viewer();
  await next.serial.open({ from: viewer.next ?? 0, tail: 0 }, later);
  await sees(later, 2 * wanted.length - viewer.text.length);
  await next.forceOff();
  expect(firstOdd(viewer.text + later.text, wanted + wanted)).toBeUndefined();
});
