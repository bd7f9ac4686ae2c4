// SPDX-License-Identifier: Apache-2.0
import { accessSync, constants } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { diskFull } from '../host/atomic-write.ts';
import { qemuProgram } from '../host/programs.ts';
import { inspectImage, type BootMedia } from '../image/inspect.ts';
import { ensureDisk } from '../image/overlay.ts';
import { labKey } from '../image/ssh-key.ts';
import { accelerator, type AcceleratorChoice } from './accelerator.ts';
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
  const media = await bootMedia(spec, dirs, abort);
  await makeStateDir(dirs.state);
  const choice = await accelerator();
  const { lab, name, memory, cpus } = spec;
  const nics = plug(spec.nics, choice.use === 'kvm' && vhostIsThere());
  const argv = qemuArgv({
    program,
    lab,
    name,
    accelerator: choice,
    memory,
    cpus,
    media,
    nics,
    sockets,
  });
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

async function bootMedia(spec: GuestSpec, dirs: GuestDirs, abort: AbortSignal): Promise<BootMedia> {
  const facts = await inspectImage(spec.image);
  if (facts.kind === 'kernel') {
    return { ...facts, authorizedKeys: (await labKey(dirs.labData, spec.lab)).publicKey };
  }
  const disk = await ensureDisk(dirs.data, facts, abort);
  return { kind: 'disk', disk, cdrom: facts.format === 'iso' ? facts.path : undefined };
}

async function makeStateDir(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
  } catch (thrown) {
    throw diskFull(thrown, path);
  }
}
