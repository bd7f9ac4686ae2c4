// SPDX-License-Identifier: Apache-2.0

/**
 * A boot sector that writes `text` to the first serial port and halts. Real mode, loaded at 0x7c00:
 * the loop takes a byte, stops at 0, and puts it out.
 */
function sectorThatSays(text: string): Buffer {
  const code = [
    [0x31, 0xc0], //             xor ax, ax
    [0x8e, 0xd8], //             mov ds, ax
    [0xbe, 0x20, 0x7c], //       mov si, 0x7c20   ; the text
    [0xba, 0xf8, 0x03], //       mov dx, 0x3f8    ; COM1
    [0xac], //                  next: lodsb
    [0x84, 0xc0], //             test al, al
    [0x74, 0x03], //             jz stop
    [0xee], //                        out dx, al
    [0xeb, 0xf8], //             jmp next
    [0xf4], //                  stop: hlt
    [0xeb, 0xfd], //             jmp stop
  ].flat();
  const sector = Buffer.alloc(512);
  Buffer.from(code).copy(sector);
  sector.write(`${text}\0`, 0x20, 'latin1');
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

/** A raw disk of 1 MiB that boots and says `text` on the serial port. */
export function diskThatSays(text: string): Buffer {
  return Buffer.concat([sectorThatSays(text), Buffer.alloc(1024 * 1024 - 512)]);
}

/** An ISO 9660 image without files that boots by El Torito 1.0 (no emulation) and says `text` on the serial port. */
export function bootableIso(text: string): Buffer {
  const sectors = Array.from({ length: 64 }, () => Buffer.alloc(2048));
  const [volume, record, end, catalog, boot] = sectors.slice(16);
  if (!volume || !record || !end || !catalog || !boot) throw new Error('64 sectors');
  volume.write('\x01CD001\x01', 'latin1');
  // Where the reader looks for the size and the (empty) root directory: both byte orders, as ECMA-119 has them.
  volume.writeUInt32LE(64, 80);
  volume.writeUInt32BE(64, 84);
  record.write('\x00CD001\x01EL TORITO SPECIFICATION', 'latin1');
  record.writeUInt32LE(19, 71);
  end.write('\xffCD001\x01', 'latin1');
  // Validation entry: platform x86, the words of the entry add up to 0.
  catalog.writeUInt8(1, 0);
  catalog.writeUInt16LE(0xaa55, 30);
  catalog.writeUInt16LE(0x10000 - 0xaa55 - 1, 28);
  // Default entry: bootable, no emulation, at the default segment 0x7c0, 4 sectors of 512 bytes, from sector 20.
  catalog.writeUInt8(0x88, 32);
  catalog.writeUInt16LE(4, 38);
  catalog.writeUInt32LE(20, 40);
  sectorThatSays(text).copy(boot);
  return Buffer.concat(sectors);
}
