// SPDX-License-Identifier: Apache-2.0
import { accessSync, constants } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { diskFull } from '../host/atomic-write.ts';
import { qemuProgram } from '../host/programs.ts';
import { inspectImage, type BootMedia, type ImageFacts } from '../image/inspect.ts';
import { type DiskSource, diskPath, ensureDisk } from '../image/overlay.ts';
import { labKey, labKeyComment, labKeyPaths } from '../image/ssh-key.ts';
import { accelerator, type AcceleratorChoice, knownAccelerator } from './accelerator.ts';
import { qemuArgv } from './argv.ts';
import { plug } from './launch.ts';
import type { GuestDirs, GuestSockets, GuestSpec, PluggedNic } from './spec.ts';

/** The serial record of a guest. */
export function serialLogPath(dirs: GuestDirs): string {
  return join(dirs.state, 'serial.log');
}

/** QEMU's own words. */
export function qemuLogPath(dirs: GuestDirs): string {
  return join(dirs.state, 'qemu.log');
}

/** QEMU's command line, and what was chosen for it. */
export interface Prepared {
  readonly argv: readonly string[];
  readonly nics: readonly PluggedNic[];
  readonly accelerator: AcceleratorChoice;
}

/** What has to be there before QEMU, absolute paths: it is made where it is not. */
export interface Needs {
  /** The directory of its sockets. */
  readonly runtime: string;
  /** The lab's ssh key, and what it is called; undefined for a guest that is given none. */
  readonly key: { readonly privateKey: string; readonly comment: string } | undefined;
  /** The guest's own disk, and what it is made of; undefined for one without. */
  readonly disk: { readonly path: string; readonly source: DiskSource } | undefined;
}

/** How a guest would be started now. */
export interface Plan {
  readonly argv: readonly string[];
  readonly needs: Needs;
}

/**
 * Makes what a start needs besides the runtime directory (disk, key, log directory) and the command line.
 * Throws IMAGE_*, QEMU_MISSING, QEMU_IMG_FAILED, DISK_FULL, ABORTED.
 */
export async function prepare(
  spec: GuestSpec,
  dirs: GuestDirs,
  sockets: GuestSockets,
  abort: AbortSignal,
): Promise<Prepared> {
  const program = qemuProgram('qemu-system-x86_64');
  // One after the other: what fails leaves nothing that is still at work. The image comes first, as a wrong path is
  // said at once, while the first probe of the accelerator takes seconds.
  const facts = await inspectImage(spec.image);
  if (facts.kind === 'kernel') await labKey(dirs.labData, spec.lab);
  else await ensureDisk(dirs.data, facts, abort);
  await makeStateDir(dirs.state);
  return prepared(spec, sockets, program, bootMedia(facts, dirs), await accelerator());
}

/**
 * What {@link prepare} would make and say; makes nothing. undefined where that takes a probe of the accelerator
 * and `probe` does not allow it. Throws IMAGE_*, QEMU_MISSING.
 */
export async function plan(
  spec: GuestSpec,
  dirs: GuestDirs,
  sockets: GuestSockets,
  probe: boolean,
): Promise<Plan | undefined> {
  const program = qemuProgram('qemu-system-x86_64');
  const facts = await inspectImage(spec.image);
  const choice = await (probe ? accelerator() : knownAccelerator());
  if (choice === undefined) return undefined;
  const { argv } = prepared(spec, sockets, program, bootMedia(facts, dirs), choice);
  const { privateKey } = labKeyPaths(dirs.labData);
  const isMicro = facts.kind === 'kernel';
  const needs: Needs = {
    runtime: dirs.runtime,
    key: isMicro ? { privateKey, comment: labKeyComment(spec.lab) } : undefined,
    disk: isMicro ? undefined : { path: diskPath(dirs.data), source: facts },
  };
  return { argv, needs };
}

/** Pure, but for the look at /dev/vhost-net. */
function prepared(
  spec: GuestSpec,
  sockets: GuestSockets,
  program: string,
  media: BootMedia,
  choice: AcceleratorChoice,
): Prepared {
  const { lab, name, memory, cpus } = spec;
  const nics = plug(spec.nics, choice.use === 'kvm' && vhostIsThere());
  const argv = qemuArgv({ program, lab, name, accelerator: choice, memory, cpus, media, nics, sockets });
  return { argv, nics, accelerator: choice };
}

/** vhost needs KVM's interrupts and the right to open the device; without it guests work, only slower. */
function vhostIsThere(): boolean {
  try {
    accessSync('/dev/vhost-net', constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function bootMedia(facts: ImageFacts, dirs: GuestDirs): BootMedia {
  if (facts.kind === 'kernel') return { ...facts, authorizedKeys: labKeyPaths(dirs.labData).publicKey };
  const cdrom = facts.format === 'iso' ? facts.path : undefined;
  return { kind: 'disk', disk: diskPath(dirs.data), cdrom };
}

async function makeStateDir(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
  } catch (thrown) {
    throw diskFull(thrown, path);
  }
}
