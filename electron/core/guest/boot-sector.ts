// SPDX-License-Identifier: Apache-2.0

/** Where QEMU's isa-debug-exit listens in the probe. */
export const exitPort = 0xf4;
/** What the boot sector writes there; QEMU then exits with twice that plus one. */
const exitValue = 0x10;
/** QEMU's exit status when the boot sector ran to its end. */
export const reachedLongMode = exitValue * 2 + 1;

/** Where the firmware loads a boot sector. */
const origin = 0x7c00;

const word = (value: number): [number, number] => [value & 0xff, value >> 8];

/**
 * A boot sector that enters 64-bit mode and leaves through isa-debug-exit. KVM that is there and cannot run
 * guests (nested on a host that lacks something) fails on the way: at the firmware, at paging, or at EFER.
 * Intel SDM vol. 3, 10.8.5 "Initializing IA-32e Mode": PAE, page tables, EFER.LME, then CR0.PG, here together with CR0.PE.
 */
export function bootSector(): Buffer {
  const code: number[] = [];
  const at = (): number => origin + code.length;
  const emit = (...bytes: number[]): void => {
    code.push(...bytes);
  };

  emit(0xfa); //                                     cli
  emit(0x31, 0xc0); //                               xor ax, ax
  emit(0x8e, 0xd8); //                               mov ds, ax
  emit(0x8e, 0xc0); //                               mov es, ax
  // Three empty pages for the page tables at 0x1000, 0x2000, 0x3000.
  emit(0xfc); //                                     cld
  emit(0xbf, ...word(0x1000)); //                    mov di, 0x1000
  emit(0xb9, ...word(0x1800)); //                    mov cx, 0x1800    ; words
  emit(0xf3, 0xab); //                               rep stosw
  // The first 2 MiB mapped to themselves, present and writable.
  emit(0xc7, 0x06, ...word(0x1000), ...word(0x2003)); // mov word [0x1000], 0x2003   ; PML4[0] → 0x2000
  emit(0xc7, 0x06, ...word(0x2000), ...word(0x3003)); // mov word [0x2000], 0x3003   ; PDPT[0] → 0x3000
  emit(0xc7, 0x06, ...word(0x3000), ...word(0x0083)); // mov word [0x3000], 0x0083   ; PD[0], a page of 2 MiB
  const lgdt = code.length;
  emit(0x0f, 0x01, 0x16, 0, 0); //                   lgdt [gdtr]       ; address filled in below
  emit(0x0f, 0x20, 0xe0); //                         mov eax, cr4
  emit(0x0c, 0x20); //                               or al, 0x20       ; PAE
  emit(0x0f, 0x22, 0xe0); //                         mov cr4, eax
  emit(0x66, 0xb8, 0x00, 0x10, 0x00, 0x00); //       mov eax, 0x1000
  emit(0x0f, 0x22, 0xd8); //                         mov cr3, eax
  emit(0x66, 0xb9, 0x80, 0x00, 0x00, 0xc0); //       mov ecx, 0xc0000080 ; EFER
  emit(0x0f, 0x32); //                               rdmsr
  emit(0x80, 0xcc, 0x01); //                         or ah, 1          ; LME, bit 8
  emit(0x0f, 0x30); //                               wrmsr
  emit(0x0f, 0x20, 0xc0); //                         mov eax, cr0
  emit(0x66, 0x0d, 0x01, 0x00, 0x00, 0x80); //       or eax, 0x80000001 ; PG, PE
  emit(0x0f, 0x22, 0xc0); //                         mov cr0, eax
  emit(0xea, ...word(at() + 5), ...word(0x08)); //   jmp 0x08:next     ; loads the 64-bit code segment
  // 64-bit from here.
  emit(0xb0, exitValue); //                          mov al, exitValue
  emit(0x66, 0xba, ...word(exitPort)); //            mov dx, exitPort
  emit(0xee); //                                     out dx, al
  emit(0xf4); //                                     hlt
  emit(0xeb, 0xfd); //                               jmp to the hlt

  const gdt = at();
  emit(0, 0, 0, 0, 0, 0, 0, 0); //                   the null descriptor
  emit(0, 0, 0, 0, 0, 0x9a, 0x20, 0); //             64-bit code, present, ring 0
  const gdtr = at();
  emit(...word(15), ...word(gdt), 0, 0); //          limit, base
  code.splice(lgdt + 3, 2, ...word(gdtr));

  const sector = Buffer.alloc(512);
  Buffer.from(code).copy(sector);
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}
