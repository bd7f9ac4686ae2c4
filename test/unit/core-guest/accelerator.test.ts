// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { reachedLongMode } from '../../../electron/core/guest/boot-sector.ts';

/* QEMU is a shell script here: what is tested is what we make of its end, and for how long we believe it. */

let box: string;
beforeEach(() => {
  box = mkdtempSync(join(tmpdir(), 'tapyard-accelerator-'));
  for (const name of ['RUNTIME_DIR', 'CACHE_HOME']) vi.stubEnv(`XDG_${name}`, box);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(box, { recursive: true, force: true });
});

const qemu = (): string => join(box, 'qemu-system-x86_64');

function program(script: string): void {
  writeFileSync(qemu(), `#!/bin/sh\necho "$*" >>${box}/calls\n${script}\n`, { mode: 0o755 });
}

function calls(): string[] {
  return readFileSync(join(box, 'calls'), 'utf8').trim().split('\n');
}

/** What another core would choose, one that remembers nothing by itself. */
async function chosen(deadlineMs = 60_000) {
  vi.resetModules();
  const { cachedVerdict, choose } = await import('../../../electron/core/guest/accelerator.ts');
  return choose(await cachedVerdict(qemu(), deadlineMs));
}

const kvm = { use: 'kvm', cpu: 'host', why: 'KVM runs guests here' };
const tcg = { use: 'tcg', cpu: 'max', why: 'KVM is present but does not run guests here; using TCG' };

it('is TCG where a guest hangs under KVM, which is waited for once and no longer than the deadline', async () => {
  program('exec sleep 120');
  expect(await chosen(300)).toEqual(tcg);
  expect(calls()).toHaveLength(1);
  expect(readdirSync(join(box, 'tapyard'))).not.toContainEqual(expect.stringMatching(/^probe-/));
});

it('is KVM where a guest says that it has entered 64-bit mode', async () => {
  program(`exit ${reachedLongMode}`);
  expect(await chosen()).toEqual(kvm);
  expect(calls()).toEqual([expect.stringMatching(/ -accel kvm -cpu host /)]);
});

it('is KVM without a processor’s bit where that is what it needs, and TCG where nothing helps', async () => {
  program(`case "$*" in *host,-arch-capabilities*) exit ${reachedLongMode};; esac; exit 1`);
  expect(await chosen()).toEqual({ ...kvm, cpu: 'host,-arch-capabilities' });
  program('exit 1');
  expect(await chosen()).toEqual(tcg);
  expect(calls()).toHaveLength(4);
});

it('is tried and kept in files that are the user’s alone', async () => {
  program(
    `stat -c '%a %u' ${box}/tapyard/probe-* ${box}/tapyard/probe-*/* >${box}/modes; exit ${reachedLongMode}`,
  );
  const umask = process.umask(0);
  try {
    await chosen();
  } finally {
    process.umask(umask);
  }
  const kept = ['tapyard', 'tapyard/accelerator.json'].map((name) => statSync(join(box, name)));
  const uid = process.getuid?.();
  expect(kept.map((each) => [each.mode & 0o777, each.uid])).toEqual([
    [0o700, uid],
    [0o600, uid],
  ]);
  const tried = readFileSync(join(box, 'modes'), 'utf8').trim().split('\n');
  expect(tried).toEqual([`700 ${uid}`, `600 ${uid}`]);
});

it('is tried once a boot and a QEMU', async () => {
  program(`exit ${reachedLongMode}`);
  expect(await chosen()).toEqual(kvm);
  expect(await chosen()).toEqual(kvm);
  expect(calls()).toHaveLength(1);

  program(`exit ${reachedLongMode} # another one`);
  expect(await chosen()).toEqual(kvm);
  expect(calls()).toHaveLength(2);

  const cache = join(box, 'tapyard/accelerator.json');
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  const text = readFileSync(cache, 'utf8');
  expect(text).toContain(boot);
  writeFileSync(cache, text.replace(boot, '00000000-0000-0000-0000-000000000000'));
  expect(await chosen()).toEqual(kvm);
  expect(calls()).toHaveLength(3);
});
