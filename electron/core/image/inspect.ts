// SPDX-License-Identifier: Apache-2.0
import { constants } from 'node:fs';
import { open, readFile, realpath, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, resolve, sep } from 'node:path';
import { TapyardError } from '../../contract/error.ts';
import { z } from '../../contract/zod.ts';
import { errnoOf } from '../host/atomic-write.ts';
import { microDirectory } from '../host/programs.ts';
import { shellWord } from '../lab/shell-quote.ts';
import type { ResolvedImage } from './image.ts';
import { isQcow2, parseQcow2Header, qcow2HeaderBytes } from './qcow2.ts';

/** What an image file is, by its bytes. */
export type FileFormat = 'qcow2' | 'raw' | 'iso';

/** An image that has been looked at and can be used. */
export type ImageFacts =
  | { readonly kind: 'kernel'; readonly kernel: string; readonly initramfs: string; readonly append: string }
  | { readonly kind: 'file'; readonly path: string; readonly format: FileFormat };

/** What QEMU boots from; every path absolute. */
export type BootMedia =
  | {
      readonly kind: 'kernel';
      readonly kernel: string;
      readonly initramfs: string;
      readonly append: string;
      /** A file in authorized_keys format that the guest reads at boot. */
      readonly authorizedKeys: string;
    }
  /** The guest's own qcow2, and the ISO that it may boot from. */
  | { readonly kind: 'disk'; readonly disk: string; readonly cdrom: string | undefined };

const fileName = z.string().regex(/^[A-Za-z0-9._-]+$/);
/** `micro.json`, see assets/micro/README.md. */
const MicroManifest = z.looseObject({
  kernel: fileName,
  initramfs: fileName,
  append: z.string().max(2000),
});

/**
 * Looks at an image. Throws IMAGE_MISSING, IMAGE_UNREADABLE, IMAGE_UNSUPPORTED with the path as subject.
 */
export async function inspectImage(image: ResolvedImage): Promise<ImageFacts> {
  if (image.kind === 'micro') return await inspectMicro();
  const { head } = await readHead(image.path);
  const format = detectFormat(head);
  if (format !== 'qcow2' && format !== 'raw' && format !== 'iso') {
    throw new TapyardError(
      'IMAGE_UNSUPPORTED',
      `The image ${image.path} cannot be used: ${format.problem}.`,
      {
        hint: format.hint,
        subject: image.path,
      },
    );
  }
  if (format === 'qcow2') await checkChain(image.path);
  return { kind: 'file', path: image.path, format };
}

async function inspectMicro(): Promise<ImageFacts> {
  const directory = microDirectory();
  const missing = (cause: unknown): TapyardError =>
    new TapyardError(
      'IMAGE_MISSING',
      `The micro guest is not there: ${directory} has no usable micro.json.`,
      {
        hint: 'In a checkout run: npm run setup. In an installation, install the package again.',
        subject: directory,
        cause,
      },
    );
  let manifest: z.infer<typeof MicroManifest>;
  try {
    manifest = MicroManifest.parse(JSON.parse(await readFile(join(directory, 'micro.json'), 'utf8')));
    await Promise.all([stat(join(directory, manifest.kernel)), stat(join(directory, manifest.initramfs))]);
  } catch (cause) {
    throw missing(cause);
  }
  return {
    kind: 'kernel',
    kernel: join(directory, manifest.kernel),
    initramfs: join(directory, manifest.initramfs),
    append: manifest.append,
  };
}

/** The first bytes of an image file. Throws as `inspectImage`. */
async function readHead(path: string): Promise<{ head: Buffer }> {
  try {
    const facts = await stat(path);
    // A pipe or a device would hang, or be read by two: a plain file is what an image is.
    if (!facts.isFile()) {
      throw new TapyardError('IMAGE_UNSUPPORTED', `The image ${path} is not a file.`, {
        hint: 'Give the path of a qcow2, raw or ISO file.',
        subject: path,
      });
    }
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const buffer = Buffer.alloc(qcow2HeaderBytes);
      const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
      return { head: buffer.subarray(0, bytesRead) };
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof TapyardError) throw cause;
    const code = errnoOf(cause);
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw new TapyardError('IMAGE_MISSING', `There is no image ${path}.`, {
        hint: 'Correct the path in the lab file, or put the file there.',
        subject: path,
        cause,
      });
    }
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TapyardError('IMAGE_UNREADABLE', `The image ${path} cannot be read: ${why}.`, {
      hint: `QEMU runs as you, so you need the right to read it and its directories: namei -l ${shellWord(path)}`,
      subject: path,
      cause,
    });
  }
}

/** Begins of formats that people try and that need a conversion or an unpacking first. */
const others: readonly (readonly [offset: number, bytes: string, what: string, hint: string])[] = [
  [0, 'KDMV', 'it is a VMware disk (VMDK)', 'convert'],
  [0, '# Disk DescriptorFile', 'it is a VMware disk (VMDK)', 'convert'],
  [0, 'vhdxfile', 'it is a Hyper-V disk (VHDX)', 'convert'],
  [0, 'conectix', 'it is a Virtual PC disk (VHD)', 'convert'],
  [64, '\x7f\x10\xda\xbe', 'it is a VirtualBox disk (VDI)', 'convert'],
  [0, 'QED\0', 'it is a QED disk', 'convert'],
  [0, '\x1f\x8b', 'it is compressed with gzip', 'unpack'],
  [0, '\xfd7zXZ\0', 'it is compressed with xz', 'unpack'],
  [0, '\x28\xb5\x2f\xfd', 'it is compressed with zstd', 'unpack'],
  [0, 'BZh', 'it is compressed with bzip2', 'unpack'],
  [0, 'PK\x03\x04', 'it is a ZIP archive', 'unpack'],
  [257, 'ustar', 'it is a tar archive (an OVA appliance?)', 'unpack'],
];
const hints: Readonly<Record<string, string>> = {
  convert: 'Convert it: qemu-img convert -O qcow2 FILE FILE.qcow2',
  unpack: 'Unpack it first and give the path of the disk in it.',
};

/**
 * What a file is, by its first 64 KiB and never by its name: qcow2's magic, ISO 9660's `CD001` at 32769 (ECMA-119
 * 8.4.2; also on ISOs that boot from USB sticks), else a raw disk when its first sector has a boot signature.
 */
export function detectFormat(head: Buffer): FileFormat | { readonly problem: string; readonly hint: string } {
  if (isQcow2(head)) return 'qcow2';
  if (head.toString('latin1', 32_769, 32_774) === 'CD001') return 'iso';
  for (const [offset, bytes, problem, hint] of others) {
    if (head.toString('latin1', offset, offset + bytes.length) === bytes)
      return { problem, hint: hints[hint] ?? '' };
  }
  if (head.length >= 512 && head.readUInt16LE(510) === 0xaa55) return 'raw';
  return {
    problem:
      head.length === 0 ? 'it is empty' : 'it is neither qcow2 nor ISO, and no disk with a boot sector',
    hint: 'Give a qcow2, raw or ISO file that a computer can boot from.',
  };
}

/** Deeper chains are nobody's intention. */
const longestChain = 8;

/**
 * Follows a qcow2's backing files. An image from elsewhere could name any file of this user (or a network
 * address) as its backing or data file, and the guest would read it: so only plain files in the image's own
 * directory or below it, with their format said, and no external data file (compare CVE-2024-32498).
 */
async function checkChain(image: string): Promise<void> {
  const root = await realpath(dirname(image));
  let path = image;
  for (let depth = 0; depth < longestChain; depth++) {
    const { head } = await readHead(path);
    const header = parseQcow2Header(head);
    const refuse = (why: string): TapyardError =>
      new TapyardError(
        'IMAGE_UNSUPPORTED',
        `The image ${image} cannot be used: ${path === image ? '' : `${path}: `}${why}.`,
        {
          hint: 'If you trust it, make one whole file of it: qemu-img convert -O qcow2 FILE WHOLE.qcow2',
          subject: image,
        },
      );
    if (typeof header === 'string') throw refuse(header);
    if (header.externalData) throw refuse('it keeps its data in another file');
    const backing = header.backingFile;
    if (backing === undefined) return;
    // QEMU takes what precedes a colon for a protocol (nbd:, json:, ssh:) unless a slash comes first.
    if (/^[^/]*:/.test(backing)) throw refuse(`its backing file is not a plain file (${backing})`);
    const next = isAbsolute(backing) ? resolve(backing) : resolve(dirname(path), backing);
    // A link that came in an archive with the image may lead anywhere; one to nowhere is told below.
    const real = await realpath(next).catch(() => next);
    const inside = (place: string): boolean => real.startsWith(place === sep ? sep : place + sep);
    if (!inside(root) && !(real === next && inside(dirname(image)))) {
      throw refuse(`its backing file ${real} is outside of the image's directory`);
    }
    if (header.backingFormat === 'raw') {
      await readHead(next);
      return;
    }
    if (header.backingFormat !== 'qcow2') throw refuse(`the format of its backing file ${next} is not said`);
    path = next;
  }
  throw new TapyardError(
    'IMAGE_UNSUPPORTED',
    `The image ${image} has more than ${longestChain} backing files.`,
    {
      hint: 'Make one whole file of it: qemu-img convert -O qcow2 FILE WHOLE.qcow2',
      subject: image,
    },
  );
}
