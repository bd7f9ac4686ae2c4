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
    .array(z.object({ nic: z.number(), tap: z.string(), ifindex: z.number(), fd: z.number() }))
    .readonly(),
  argv: z.array(z.string()).readonly(),
});
export type GuestStateFile = z.infer<typeof GuestStateFile>;

const pathIn = (runtime: string): string => join(runtime, 'guest.json');

/** Reads it; undefined where there is none, or none that this version understands. */
export function readStateFile(runtime: string): GuestStateFile | undefined {
  try {
    const parsed = GuestStateFile.safeParse(JSON.parse(readFileSync(pathIn(runtime), 'utf8')));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Writes it at once and whole, synchronously: between QEMU's start and this a killed core would leave a guest
 * that nobody knows. No fsync, since the directory does not outlive the boot anyway.
 */
export function writeStateFile(runtime: string, state: GuestStateFile): void {
  const path = pathIn(runtime);
  writeFileSync(`${path}.new`, `${JSON.stringify(state)}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** Removes it and the sockets that a QEMU which is gone has left (it removes them itself only when it ends in good order). */
export function removeRuntime(runtime: string): void {
  rmSync(runtime, { recursive: true, force: true });
}
