// SPDX-License-Identifier: Apache-2.0

/**
 * An archive in the "newc" format of cpio, as the kernel unpacks it
 * (Documentation/driver-api/early-userspace/buffer-format.rst). The same
 * entries give the same bytes: no times, no owners, numbers in order.
 *
 * @param {{path: string, mode: number, data?: Buffer, device?: [number, number]}[]} entries
 *   path without a leading slash, mode with its file type bits; parents first
 * @returns {Buffer}
 */
export function newc(entries) {
  const parts = [];
  entries.forEach((entry, index) => parts.push(...record(entry, index + 1)));
  parts.push(...record({ path: 'TRAILER!!!', mode: 0 }, 0));
  return Buffer.concat(parts);
}

function record({ path, mode, data = Buffer.alloc(0), device = [0, 0] }, inode) {
  const name = Buffer.from(`${path}\0`);
  const fields = [
    inode,
    mode,
    0, // uid
    0, // gid
    1, // links
    0, // mtime
    data.length,
    0, // device of the archive
    0,
    ...device,
    name.length,
    0, // checksum, unused in newc
  ];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
  return [Buffer.from(header), name, padding(header.length + name.length), data, padding(data.length)];
}

/** Header with name, and data, each end on a multiple of four. */
function padding(length) {
  return Buffer.alloc(-length & 3);
}
