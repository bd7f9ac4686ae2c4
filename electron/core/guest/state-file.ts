// SPDX-License-Identifier: Apache-2.0
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from '../../contract/zod.ts';

/** `guest.json` in a guest's runtime directory: what the next core needs to take over a running QEMU. */
const GuestStateFile = z.object({
  version: z.literal(1),
  pid: z.number().int().min(1),
  /** Of /proc/PID/stat, so that another process with this number is not taken for it. */
  startTime: z.number(),
  accelerator: z.enum(['kvm', 'tcg']),
  /** When QEMU was started, ms since 1970. */
  since: z.number(),
  taps: z
    .array(
      z.object({
        nic: z.number(),
        network: z.string().default(''),
        mac: z.string().default(''),
        tap: z.string(),
        ifindex: z.number(),
        fd: z.number().nullable(),
      }),
    )
    .readonly(),
  argv: z.array(z.string()).readonly(),
  /** NICs whose cable is cut: QEMU cannot be asked. */
  cut: z.array(z.number()).readonly().default([]),
});
export type GuestStateFile = z.infer<typeof GuestStateFile>;

/** `last-end.json` in a guest's state directory: how its last QEMU ended, for the cores that come after. */
const LastEnd = z.object({
  version: z.literal(1),
  state: z.enum(['shut off', 'crashed']),
  reason: z.string().nullable(),
  /** ms since 1970. */
  since: z.number(),
});
export type LastEnd = z.infer<typeof LastEnd>;

const pathIn = (runtime: string): string => join(runtime, 'guest.json');

/** Reads it; undefined where there is none, or none that this version understands. */
export function readStateFile(runtime: string): GuestStateFile | undefined {
  const file = read(pathIn(runtime), GuestStateFile);
  if (file === undefined) return undefined;
  // An older core did not write them; its NICs are all on the command line.
  const taps = file.taps.map((tap) => (tap.mac === '' ? { ...tap, mac: macIn(file.argv, tap.nic) } : tap));
  return { ...file, taps };
}

/** The MAC address of a NIC on QEMU's command line. */
function macIn(argv: readonly string[], nic: number): string {
  const device = argv.find((word) => word.startsWith(`virtio-net-pci,id=nic${nic},`));
  return /\bmac=([0-9a-f:]{17})/.exec(device ?? '')?.[1] ?? '';
}

/** How the guest ended last; undefined where nobody knows. */
export function readLastEnd(state: string): LastEnd | undefined {
  return read(lastEndPath(state), LastEnd);
}

/** Notes how the guest ended. It is for information only: where it cannot be written, the next core knows less. */
export function writeLastEnd(state: string, end: LastEnd): void {
  try {
    replace(lastEndPath(state), end);
  } catch {
    // The disk may be full; the guest ended all the same.
  }
}

const lastEndPath = (state: string): string => join(state, 'last-end.json');

function read<Schema extends z.ZodType>(path: string, schema: Schema): z.output<Schema> | undefined {
  try {
    return schema.safeParse(JSON.parse(readFileSync(path, 'utf8'))).data;
  } catch {
    return undefined;
  }
}

function replace(path: string, value: unknown): void {
  writeFileSync(`${path}.new`, `${JSON.stringify(value)}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/**
 * Writes it at once and whole, synchronously: between QEMU's start and this a killed core would leave a guest
 * that nobody knows. No fsync, since the directory does not outlive the boot anyway.
 */
export function writeStateFile(runtime: string, state: GuestStateFile): void {
  replace(pathIn(runtime), state);
}

/** Removes it and the sockets that a QEMU which is gone has left (it removes them itself only when it ends in good order). */
export function removeRuntime(runtime: string): void {
  rmSync(runtime, { recursive: true, force: true });
}
