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

/**
 * A boot sector that writes the numbers from 0 to `lines` - 1 to the first serial port, each in eight hexadecimal
 * digits and a newline, as fast as the port takes them, and halts. It waits for the port as a driver does.
 */
function sectorThatCounts(lines: number): Buffer {
  const code = [
    [0x66, 0x31, 0xdb], //       xor ebx, ebx     ; the number
    [0x66, 0x89, 0xde], //      line: mov esi, ebx
    [0xb9, 0x09, 0x00], //            mov cx, 9   ; eight digits and the newline
    [0xba, 0xfd, 0x03], //      next: mov dx, 0x3fd
    [0xec], //                  wait: in al, dx   ; the line status register of COM1
    [0xa8, 0x20], //                  test al, 0x20
    [0x74, 0xfb], //                  jz wait
    [0xba, 0xf8, 0x03], //            mov dx, 0x3f8
    [0xb0, 0x0a], //                  mov al, 10
    [0x49], //                        dec cx
    [0x74, 0x0d], //                  jz put
    [0x66, 0xc1, 0xc6, 0x04], //      rol esi, 4
    [0x89, 0xf0], //                  mov ax, si
    [0x24, 0x0f], //                  and al, 15
    [0x3c, 0x0a], //                  cmp al, 10
    [0x1c, 0x69], //                  sbb al, 0x69
    [0x2f], //                        das         ; "0" to "F", and the zero flag is clear
    [0xee], //                  put:  out dx, al
    [0x75, 0xe0], //                  jnz next
    [0x66, 0x43], //                  inc ebx
    [0x66, 0x81, 0xfb], //            cmp ebx, lines
    [lines & 255, (lines >> 8) & 255, (lines >> 16) & 255, lines >>> 24],
    [0x72, 0xcf], //                  jb line
    [0xf4], //                  stop: hlt
    [0xeb, 0xfd], //                  jmp stop
  ].flat();
  const sector = Buffer.alloc(512);
  Buffer.from(code).copy(sector);
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

/** What a boot of `diskThatCounts(lines)` says. */
export function countingText(lines: number): string {
  return Array.from(
    { length: lines },
    (_, line) => `${line.toString(16).toUpperCase().padStart(8, '0')}\n`,
  ).join('');
}

const disk = (sector: Buffer): Buffer => Buffer.concat([sector, Buffer.alloc(1024 * 1024 - 512)]);

/** A raw disk of 1 MiB that boots and floods the serial port with `countingText(lines)`. */
export const diskThatCounts = (lines: number): Buffer => disk(sectorThatCounts(lines));

/** A raw disk of 1 MiB that boots and says `text` on the serial port. */
export const diskThatSays = (text: string): Buffer => disk(sectorThatSays(text));

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
