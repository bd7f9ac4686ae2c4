// SPDX-License-Identifier: Apache-2.0
import * as fc from 'fast-check';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { GuestName } from '../../../electron/contract/names.ts';
import { guestDirs } from '../../../electron/core/guest/spec.ts';
import { detectFormat, inspectImage } from '../../../electron/core/image/inspect.ts';
import { resolveImage } from '../../../electron/core/image/image.ts';
import { parseQcow2Header } from '../../../electron/core/image/qcow2.ts';
import { labKey, publicLine } from '../../../electron/core/image/ssh-key.ts';

let box: string;
beforeEach(() => {
  box = mkdtempSync(join(tmpdir(), 'tapyard-image-'));
  vi.stubEnv('XDG_RUNTIME_DIR', box);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(box, { recursive: true, force: true });
});

/** A qcow2 header of version 3, as `qemu-img create` writes it. */
function qcow2({
  backing,
  format,
  externalData = false,
}: { backing?: string; format?: string; externalData?: boolean } = {}): Buffer {
  const head = Buffer.alloc(1024);
  head.write('QFI\xfb', 'latin1');
  head.writeUInt32BE(3, 4);
  head.writeBigUInt64BE(1n << 30n, 24);
  head.writeBigUInt64BE(externalData ? 4n : 0n, 72);
  head.writeUInt32BE(104, 100);
  if (format !== undefined) {
    head.writeUInt32BE(0xe2792aca, 104);
    head.writeUInt32BE(format.length, 108);
    head.write(format, 112);
  }
  if (backing !== undefined) {
    head.writeBigUInt64BE(512n, 8);
    head.writeUInt32BE(Buffer.byteLength(backing), 16);
    head.write(backing, 512);
  }
  return head;
}

const bootable = (): Buffer => {
  const disk = Buffer.alloc(4096);
  disk.writeUInt16LE(0xaa55, 510);
  return disk;
};
const iso = (): Buffer => {
  const disc = Buffer.alloc(40_000);
  disc.writeUInt16LE(0xaa55, 510);
  disc.write('CD001', 32_769);
  return disc;
};

const file = (name: string, bytes: Uint8Array): ReturnType<typeof resolveImage> => {
  writeFileSync(join(box, name), bytes);
  return resolveImage(name, box);
};

describe('an image by its bytes', () => {
  it('is known whatever its name says', async () => {
    expect(await inspectImage(file('a.iso', qcow2()))).toMatchObject({ format: 'qcow2' });
    expect(await inspectImage(file('b.qcow2', bootable()))).toMatchObject({ format: 'raw' });
    // Debian's ISOs have a boot signature as well, for USB sticks.
    expect(await inspectImage(file('c.img', iso()))).toMatchObject({ format: 'iso' });
  });

  it.each([
    ['nothing', Buffer.alloc(0), /empty/],
    ['text', Buffer.from('hello\n'.repeat(200)), /neither/],
    ['VMDK', Buffer.from('KDMV'.padEnd(600)), /VMware/],
    ['VDI', Buffer.concat([Buffer.alloc(64), Buffer.from([0x7f, 0x10, 0xda, 0xbe])]), /VirtualBox/],
    ['xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 1]), /xz/],
    ['OVA', Buffer.concat([Buffer.alloc(257), Buffer.from('ustar\0')]), /tar/],
    [
      'encrypted qcow2',
      (() => {
        const head = qcow2();
        head.writeUInt32BE(2, 32);
        return head;
      })(),
      /encrypted/,
    ],
    ['cut qcow2', qcow2().subarray(0, 50), /cut off/],
  ])('refuses %s and says what it is', async (name, bytes, words) => {
    await expect(inspectImage(file(name, bytes))).rejects.toMatchObject({
      code: 'IMAGE_UNSUPPORTED',
      message: expect.stringMatching(words),
      subject: join(box, name),
    });
  });

  it('never throws anything else, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), fc.boolean(), (bytes, magic) => {
        const head = Buffer.from(bytes);
        if (magic) head.write('QFI\xfb\0\0\0\x03', 'latin1');
        expect(() => [detectFormat(head), parseQcow2Header(head)]).not.toThrow();
      }),
    );
  });
});

describe('a path', () => {
  it('is relative to the lab file', () => {
    expect(resolveImage('disks/a.qcow2', '/labs/seed')).toEqual({
      kind: 'file',
      path: '/labs/seed/disks/a.qcow2',
      label: 'a.qcow2',
    });
    expect(resolveImage('/abs.iso', '/labs')).toMatchObject({ path: '/abs.iso' });
    expect(resolveImage('micro', '/labs')).toEqual({ kind: 'micro', label: 'Micro guest' });
  });

  it('that is missing, a directory, or unreadable has its own error', async () => {
    mkdirSync(join(box, 'dir'));
    await expect(inspectImage(resolveImage('gone.qcow2', box))).rejects.toMatchObject({
      code: 'IMAGE_MISSING',
    });
    await expect(inspectImage(resolveImage('dir', box))).rejects.toMatchObject({ code: 'IMAGE_UNSUPPORTED' });
    file('secret', bootable());
    chmodSync(join(box, 'secret'), 0);
    const asked = inspectImage(resolveImage('secret', box));
    // root reads everything.
    if (process.getuid?.() === 0) expect(await asked).toMatchObject({ format: 'raw' });
    else await expect(asked).rejects.toMatchObject({ code: 'IMAGE_UNREADABLE' });
  });
});

describe('backing files', () => {
  it('beside the image are followed', async () => {
    file('base.raw', bootable());
    file('middle.qcow2', qcow2({ backing: 'base.raw', format: 'raw' }));
    const top = file('top.qcow2', qcow2({ backing: join(box, 'middle.qcow2'), format: 'qcow2' }));
    expect(await inspectImage(top)).toMatchObject({ format: 'qcow2' });
  });

  it.each([
    ['another directory', { backing: '/etc/shadow', format: 'raw' }],
    ['the directory above', { backing: '../x', format: 'raw' }],
    ['a protocol', { backing: 'nbd:10.0.0.1:10809', format: 'raw' }],
    ['JSON', { backing: 'json:{"driver":"ssh"}', format: 'raw' }],
    ['a format that must be guessed', { backing: 'base.raw' }],
    ['an external data file', { externalData: true }],
  ])('are refused: %s', async (_, header) => {
    file('base.raw', bootable());
    await expect(inspectImage(file('top.qcow2', qcow2(header)))).rejects.toMatchObject({
      code: 'IMAGE_UNSUPPORTED',
    });
  });

  it('are refused where a link leads out of the directory, and followed where it does not', async () => {
    const inside = join(box, 'images');
    mkdirSync(inside);
    file('secret', bootable());
    symlinkSync(join(box, 'secret'), join(inside, 'base.raw'));
    const top = file('images/top.qcow2', qcow2({ backing: 'base.raw', format: 'raw' }));
    await expect(inspectImage(top)).rejects.toMatchObject({
      code: 'IMAGE_UNSUPPORTED',
      message: expect.stringContaining(join(box, 'secret')),
    });
    file('images/real.raw', bootable());
    rmSync(join(inside, 'base.raw'));
    symlinkSync('real.raw', join(inside, 'base.raw'));
    expect(await inspectImage(top)).toMatchObject({ format: 'qcow2' });
    // The directory itself may be reached by a link.
    symlinkSync(inside, join(box, 'alias'));
    expect(await inspectImage(resolveImage('alias/top.qcow2', box))).toMatchObject({ format: 'qcow2' });
  });

  it('whose format stands where QEMU does not look for it have none', async () => {
    // QEMU reads extensions up to the backing file's name. Behind it "raw" is no word of QEMU's, which would
    // guess the format, and the backing file could be a qcow2 that names /etc/shadow.
    const head = qcow2();
    head.writeBigUInt64BE(104n, 8);
    head.writeUInt32BE(8, 16);
    head.write('base.raw', 104);
    head.writeUInt32BE(112, 100);
    head.writeUInt32BE(0xe2792aca, 112);
    head.writeUInt32BE(3, 116);
    head.write('raw', 120);
    expect(parseQcow2Header(head)).toMatchObject({ backingFile: 'base.raw', backingFormat: undefined });
    file('base.raw', bootable());
    await expect(inspectImage(file('top.qcow2', head))).rejects.toMatchObject({ code: 'IMAGE_UNSUPPORTED' });
  });

  it('that go in a circle are refused', async () => {
    file('a.qcow2', qcow2({ backing: 'b.qcow2', format: 'qcow2' }));
    await expect(
      inspectImage(file('b.qcow2', qcow2({ backing: 'a.qcow2', format: 'qcow2' }))),
    ).rejects.toMatchObject({
      code: 'IMAGE_UNSUPPORTED',
    });
  });
});

describe('the lab’s ssh key', () => {
  it('is made once, also by two guests at once, and private', async () => {
    const [one, two] = await Promise.all([labKey(box, 'seed'), labKey(box, 'seed')]);
    expect(one).toEqual(two);
    const secret = readFileSync(one.privateKey, 'utf8');
    const open = readFileSync(one.publicKey, 'utf8');
    expect(statSync(one.privateKey).mode & 0o777).toBe(0o600);
    expect(open).toMatch(/^ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA\S+ tapyard\n$/);
    expect(publicLine(secret)).toBe(open);
    await labKey(box, 'seed');
    expect(readFileSync(one.privateKey, 'utf8')).toBe(secret);
  });

  it('lies where no guest can have its disk: one called ssh would take it along when it is removed', async () => {
    const { labData } = guestDirs('seed', 'ssh');
    const { privateKey } = await labKey(box, 'seed');
    const place = relative(box, dirname(privateKey));
    expect(GuestName.safeParse(place).success).toBe(false);
    expect(join(labData, place)).not.toBe(guestDirs('seed', 'ssh').data);
  });

  it('that is damaged is not overwritten', async () => {
    mkdirSync(join(box, '.ssh'));
    writeFileSync(join(box, '.ssh/id_ed25519'), 'mine');
    await expect(labKey(box, 'seed')).rejects.toMatchObject({ code: 'STATE_FILE_INVALID' });
    expect(readFileSync(join(box, '.ssh/id_ed25519'), 'utf8')).toBe('mine');
    expect(publicLine('')).toBeUndefined();
  });
});
