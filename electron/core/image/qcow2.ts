// SPDX-License-Identifier: Apache-2.0

/** What a qcow2 header says that decides whether and how the image is used. */
export interface Qcow2Header {
  /** The name as stored, undefined without a backing file. */
  readonly backingFile: string | undefined;
  /** The backing file's format as stored, undefined where it is not said. */
  readonly backingFormat: string | undefined;
  /** The guest's data lies in another file that the header names. */
  readonly externalData: boolean;
  /** Bytes of the disk that the guest sees. */
  readonly virtualSize: number;
}

const magic = Buffer.from([0x51, 0x46, 0x49, 0xfb]);
/** A header with its extensions and the backing file's name fits into the first cluster; 64 KiB is the usual one. */
export const qcow2HeaderBytes = 65_536;
/** The backing file's name has at most this many bytes (QEMU docs: interop/qcow2). */
const longestBackingName = 1023;
const externalDataBit = 1n << 2n;
const backingFormatExtension = 0xe2792aca;

/** Whether a file that begins with `head` is a qcow2 image. */
export function isQcow2(head: Buffer): boolean {
  return head.length >= 8 && head.subarray(0, 4).equals(magic);
}

/**
 * Reads the header (QEMU docs: interop/qcow2) from a file's first bytes, big endian. Answers what is wrong
 * with it as a string. Nothing in it is trusted: every offset is checked against the bytes at hand.
 */
export function parseQcow2Header(head: Buffer): Qcow2Header | string {
  if (!isQcow2(head)) return 'it does not begin with a qcow2 header';
  if (head.length < 72) return 'its qcow2 header is cut off';
  const version = head.readUInt32BE(4);
  if (version !== 2 && version !== 3) return `it is a qcow2 image of version ${version}; 2 and 3 are known`;
  const virtualSize = Number(head.readBigUInt64BE(24));
  const encryption = head.readUInt32BE(32);
  if (encryption !== 0) return 'it is encrypted';
  if (version === 3 && head.length < 104) return 'its qcow2 header is cut off';
  const incompatible = version === 3 ? head.readBigUInt64BE(72) : 0n;
  const headerLength = version === 3 ? head.readUInt32BE(100) : 72;
  const backingOffset = Number(head.readBigUInt64BE(8));
  const backingLength = head.readUInt32BE(16);
  let backingFile: string | undefined;
  if (backingOffset !== 0) {
    if (backingLength === 0 || backingLength > longestBackingName)
      return 'its backing file has a name of a wrong length';
    if (backingOffset + backingLength > head.length)
      return "its backing file's name lies outside of its header";
    backingFile = head.toString('utf8', backingOffset, backingOffset + backingLength);
  }
  return {
    backingFile,
    // QEMU looks for extensions up to the backing file's name and not behind it (block/qcow2.c).
    backingFormat: extension(
      backingFile === undefined ? head : head.subarray(0, backingOffset),
      headerLength,
      backingFormatExtension,
    ),
    externalData: (incompatible & externalDataBit) !== 0n,
    virtualSize,
  };
}

/** The text of a header extension: type, length, data padded to 8 bytes, until the type 0. */
function extension(head: Buffer, start: number, wanted: number): string | undefined {
  let at = start;
  while (at + 8 <= head.length) {
    const type = head.readUInt32BE(at);
    const length = head.readUInt32BE(at + 4);
    if (type === 0 || at + 8 + length > head.length) return undefined;
    if (type === wanted) return head.toString('utf8', at + 8, at + 8 + length);
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return undefined;
}
