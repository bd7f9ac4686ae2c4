// SPDX-License-Identifier: Apache-2.0
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from '../../contract/zod.ts';
import { labDir, makePrivateDir } from '../host/runtime-dir.ts';

/** Milliseconds by a step's id. */
const Times = z.record(z.string(), z.number().min(0));

/**
 * `step-times.json` in a lab's runtime directory: how long the steps of its last `up` took, for the cores that
 * come after. Ids as in the recipe, without the lab.
 */
const StepTimes = z.object({
  version: z.literal(1),
  /** Of the networks: `br0/bridge`. */
  networks: Times,
  /** Of each guest by its name: `web/qemu`, `web/0/tap`. */
  guests: z.record(z.string(), Times),
});
export type StepTimes = Readonly<Omit<z.infer<typeof StepTimes>, 'version'>>;

const pathOf = (lab: string): string => join(labDir(lab), 'step-times.json');

/** Reads them; undefined where there are none, or none that this version understands. */
export function readStepTimes(lab: string): StepTimes | undefined {
  try {
    return StepTimes.safeParse(JSON.parse(readFileSync(pathOf(lab), 'utf8'))).data;
  } catch {
    return undefined;
  }
}

/** Writes them, old or new and never a part. For information only: where it cannot be written, the next core knows less. */
export function writeStepTimes(lab: string, times: StepTimes): void {
  try {
    makePrivateDir(labDir(lab));
    const path = pathOf(lab);
    writeFileSync(`${path}.new`, `${JSON.stringify({ version: 1, ...times })}\n`, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  } catch {
    // The file system may be full; the lab is up all the same.
  }
}

/** Removes them. */
export function removeStepTimes(lab: string): void {
  try {
    for (const path of [pathOf(lab), `${pathOf(lab)}.new`]) rmSync(path, { force: true });
  } catch {
    // No runtime directory, hence no times.
  }
}
