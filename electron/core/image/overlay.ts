// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { TapyardError } from '../../contract/error.ts';
import { diskFull, errnoOf } from '../host/atomic-write.ts';
import { runProgram } from '../host/process.ts';
import { qemuProgram } from '../host/programs.ts';
import type { FileFormat } from './inspect.ts';
import { parseQcow2Header, qcow2HeaderBytes } from './qcow2.ts';

/** The disk that a guest which boots an ISO gets to install on; empty, it takes no space. */
const blankDisk = '20G';

/** The path of a guest's own disk in its data directory. */
export function diskPath(dataDirectory: string): string {
  return join(dataDirectory, 'disk.qcow2');
}

/** What a guest's disk is made of. */
export interface DiskSource {
  readonly path: string;
  readonly format: FileFormat;
}

/** The arguments with which qemu-img makes a guest's disk. */
export function diskArguments(disk: string, image: DiskSource): string[] {
  // Both paths are absolute, so QEMU reads neither as a protocol (`nbd:…`), whatever they contain.
  const create = ['create', '-q', '-f', 'qcow2'];
  if (image.format === 'iso') return [...create, disk, blankDisk];
  return [...create, '-b', image.path, '-F', image.format, disk];
}

/**
 * The guest's own disk: what it writes goes there, never to the image. Made at the first start, as an overlay of
 * a disk image or as a blank disk beside an ISO. One that is there is kept; where it is an overlay of another
 * image than `path`, IMAGE_UNSUPPORTED says so, since neither disk would be what the lab file means.
 * Throws QEMU_MISSING, QEMU_IMG_FAILED, DISK_FULL, ABORTED besides.
 */
export async function ensureDisk(
  dataDirectory: string,
  image: DiskSource,
  abort?: AbortSignal,
): Promise<string> {
  const disk = diskPath(dataDirectory);
  const wanted = image.format === 'iso' ? undefined : image.path;
  const there = await backingOf(disk);
  if (there !== undefined) {
    if (there.backing === wanted) return disk;
    throw new TapyardError(
      'IMAGE_UNSUPPORTED',
      `The guest's disk ${disk} was made ${there.backing === undefined ? 'without an image' : `from ${there.backing}`}, and the lab file now says ${image.path}.`,
      { hint: `Put the old image back into the lab file, or throw the disk away: rm ${disk}`, subject: disk },
    );
  }
  await mkdir(dataDirectory, { recursive: true, mode: 0o700 }).catch((cause: unknown) => {
    throw diskFull(cause, dataDirectory);
  });
  // Aside and moved, so that an aborted making leaves no disk that looks whole.
  const aside = join(dataDirectory, `.disk.${randomBytes(6).toString('hex')}.qcow2`);
  try {
    const { code, stderr } = await runProgram(qemuProgram('qemu-img'), diskArguments(aside, image), {
      deadlineMs: 30_000,
      ...(abort === undefined ? {} : { abort }),
    });
    if (code !== 0) {
      const said = stderr.trim().slice(-2000);
      if (/No space left on device|Disk quota exceeded/.test(said)) {
        throw diskFull(Object.assign(new Error(said), { code: 'ENOSPC' }), disk);
      }
      throw new TapyardError('QEMU_IMG_FAILED', `qemu-img could not make the disk ${disk}: ${said}`, {
        hint: `Try: qemu-img info ${image.path}`,
        subject: disk,
      });
    }
    await chmod(aside, 0o600);
    await rename(aside, disk);
  } finally {
    await rm(aside, { force: true });
  }
  return disk;
}

/** The backing file of a disk that is there; undefined when there is none. Throws IMAGE_UNREADABLE, IMAGE_UNSUPPORTED. */
async function backingOf(disk: string): Promise<{ readonly backing: string | undefined } | undefined> {
  let head: Buffer;
  try {
    const file = await open(disk, 'r');
    try {
      const buffer = Buffer.alloc(qcow2HeaderBytes);
      head = buffer.subarray(0, (await file.read(buffer, 0, buffer.length, 0)).bytesRead);
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return undefined;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TapyardError('IMAGE_UNREADABLE', `The guest's disk ${disk} cannot be read: ${why}.`, {
      hint: `It must be yours: ls -l ${disk}`,
      subject: disk,
      cause,
    });
  }
  const header = parseQcow2Header(head);
  if (typeof header !== 'string') return { backing: header.backingFile };
  throw new TapyardError('IMAGE_UNSUPPORTED', `The guest's disk ${disk} is damaged: ${header}.`, {
    hint: `Put a copy of it back, or throw it away (the guest begins anew): rm ${disk}`,
    subject: disk,
  });
}
