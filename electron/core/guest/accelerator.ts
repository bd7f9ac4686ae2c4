// SPDX-License-Identifier: Apache-2.0
import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { TapyardError } from '../../contract/error.ts';
import { z } from '../../contract/zod.ts';
import { errnoOf, writeFileAtomic } from '../host/atomic-write.ts';
import { runProgram } from '../host/process.ts';
import { qemuProgram } from '../host/programs.ts';
import { cacheDir, ownUid, runtimeDir } from '../host/runtime-dir.ts';
import { bootSector, exitPort, reachedLongMode } from './boot-sector.ts';

/** What guests run on, and why, for people. */
export interface AcceleratorChoice {
  readonly use: 'kvm' | 'tcg';
  /** QEMU's `-cpu`. */
  readonly cpu: string;
  /** Such as "KVM is present but does not run guests here; using TCG". */
  readonly why: string;
}

const tcg = (why: string): AcceleratorChoice => ({ use: 'tcg', cpu: 'max', why });

/** How a probe under KVM ended. */
type Verdict = 'runs' | 'runs without arch-capabilities' | 'fails';
const Cached = z.object({
  version: z.literal(1),
  key: z.string(),
  verdict: z.enum(['runs', 'runs without arch-capabilities', 'fails']),
});

/** A machine that runs guests does it in 0.1 s; one that needs seconds for 50 instructions is of no use. */
const probeDeadlineMs = 3000;

/** `-cpu host`, and without a bit that QEMU cannot set on some nested hosts ("failed to set MSR 0x10a"). */
const cpus = [
  ['runs', 'host'],
  ['runs without arch-capabilities', 'host,-arch-capabilities'],
] as const;

/** What a verdict under KVM means for guests. */
export function choose(verdict: Verdict): AcceleratorChoice {
  const cpu = cpus.find(([name]) => name === verdict)?.[1];
  return cpu === undefined
    ? tcg('KVM is present but does not run guests here; using TCG')
    : { use: 'kvm', cpu, why: 'KVM runs guests here' };
}

/** Why KVM need not be tried, undefined when /dev/kvm can be opened. */
function withoutKvm(): string | undefined {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return undefined;
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') {
      return 'there is no /dev/kvm (no hardware virtualization, or it is off in the firmware, or the module is not loaded); using TCG, which is slow';
    }
    return 'no permission on /dev/kvm: add yourself to group kvm (sudo usermod -aG kvm $USER, then log in again); using TCG, which is slow';
  }
}

/** What a verdict holds for: this boot, this QEMU, this user. */
function verdictKey(qemu: string): string {
  const { mtimeMs, size } = statSync(qemu);
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return `${boot} ${qemu} ${size} ${mtimeMs} ${ownUid()}`;
}

async function probe(qemu: string, deadlineMs: number): Promise<Verdict> {
  const directory = await mkdtemp(join(runtimeDir(), 'probe-'));
  try {
    const disk = join(directory, 'boot-sector');
    await writeFile(disk, bootSector(), { mode: 0o600 });
    // The firmware computes cylinders from the size; a disk of one sector has none, and it does not read it.
    await truncate(disk, 1024 * 1024);
    for (const [verdict, cpu] of cpus) {
      const args = [
        [
          '-nodefaults',
          '-no-user-config',
          '-display',
          'none',
          '-machine',
          'q35',
          '-accel',
          'kvm',
          '-cpu',
          cpu,
        ],
        ['-m', '16', '-no-reboot'],
        ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
        [
          '-blockdev',
          JSON.stringify({
            driver: 'raw',
            'node-name': 'boot',
            'read-only': true,
            file: { driver: 'file', filename: disk },
          }),
        ],
        ['-device', 'virtio-blk-pci,drive=boot'],
        ['-device', `isa-debug-exit,iobase=${exitPort},iosize=1`],
      ].flat();
      try {
        const { code } = await runProgram(qemu, args, { deadlineMs });
        if (code === reachedLongMode) return verdict;
      } catch (thrown) {
        // A guest that hangs with one processor model hangs with the other too: waiting twice helps nobody.
        if (thrown instanceof TapyardError && thrown.code === 'DEADLINE') return 'fails';
        throw thrown;
      }
    }
    return 'fails';
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** The last verdict of this process, for a cache directory that cannot be written. */
let known: { readonly key: string; readonly verdict: Verdict } | undefined;

async function readCache(file: string): Promise<typeof known> {
  try {
    const cached = Cached.safeParse(JSON.parse(await readFile(file, 'utf8')));
    return cached.success ? cached.data : undefined;
  } catch {
    return undefined;
  }
}

const cacheFile = (): string => join(cacheDir(), 'accelerator.json');

async function knownVerdict(key: string): Promise<Verdict | undefined> {
  const cached = known?.key === key ? known : await readCache(cacheFile());
  return cached?.key === key ? cached.verdict : undefined;
}

/** Whether guests run under KVM with this QEMU: as it was found in this boot, else tried. */
export async function cachedVerdict(qemu: string, deadlineMs = probeDeadlineMs): Promise<Verdict> {
  const key = verdictKey(qemu);
  const cached = await knownVerdict(key);
  if (cached !== undefined) return cached;
  const verdict = await probe(qemu, deadlineMs);
  known = { key, verdict };
  try {
    await mkdir(cacheDir(), { recursive: true, mode: 0o700 });
    await writeFileAtomic(cacheFile(), `${JSON.stringify({ version: 1, ...known })}\n`, { mode: 0o600 });
  } catch {
    // Then the next core probes again.
  }
  return verdict;
}

/** What needs no probe; undefined where KVM may or may not run guests. */
function withoutProbe(): AcceleratorChoice | undefined {
  const override = process.env['TAPYARD_ACCEL'];
  if (override === 'tcg') return tcg('TAPYARD_ACCEL says so');
  if (override === 'kvm') return { use: 'kvm', cpu: 'host', why: 'TAPYARD_ACCEL says so' };
  const why = withoutKvm();
  return why === undefined ? undefined : tcg(why);
}

let running: Promise<AcceleratorChoice> | undefined;

/**
 * What "auto" means on this computer. KVM is believed only after a guest has entered 64-bit mode under it: there
 * are machines where /dev/kvm opens and guests hang. The verdict is kept per boot, QEMU and user, so only the
 * first call takes long (at most about 3 s). `TAPYARD_ACCEL=tcg|kvm` overrides. Throws QEMU_MISSING.
 */
export async function accelerator(): Promise<AcceleratorChoice> {
  const certain = withoutProbe();
  if (certain !== undefined) return certain;
  // Several guests that start at once ask at once: one probe serves them all.
  running ??= cachedVerdict(qemuProgram('qemu-system-x86_64'))
    .then(choose)
    .finally(() => {
      running = undefined;
    });
  return await running;
}

/** The same where it is known; undefined where it would have to be tried. Throws QEMU_MISSING. */
export async function knownAccelerator(): Promise<AcceleratorChoice | undefined> {
  const certain = withoutProbe();
  if (certain !== undefined) return certain;
  const verdict = await knownVerdict(verdictKey(qemuProgram('qemu-system-x86_64')));
  return verdict === undefined ? undefined : choose(verdict);
}
