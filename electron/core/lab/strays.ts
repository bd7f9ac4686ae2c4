// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { readStateFile } from '../guest/state-file.ts';
import type { GuestSpec, HeldTap } from '../guest/spec.ts';
import { labDir } from '../host/runtime-dir.ts';
import { memoryBytes } from './resolve.ts';

/** A guest that the lab file does not name, as its QEMU's command line tells. */
export type Stray = Pick<GuestSpec, 'name' | 'image' | 'memory' | 'cpus' | 'nics'>;

/**
 * Guests whose QEMU an earlier core started, and that left the lab file while no core ran. Without them `down`
 * would leave their QEMUs behind. `known` are the guests of the file.
 */
export function strayGuests(lab: string, known: ReadonlySet<string>): Stray[] {
  const dir = join(labDir(lab), 'guests');
  let entries: string[];
  try {
    entries = readdirSync(dir);
  } catch {
    return [];
  }
  return entries.flatMap((entry) => {
    const state = readStateFile(join(dir, entry));
    const stray = state && strayOf(lab, state.argv, state.taps);
    return stray && !known.has(stray.name) ? [stray] : [];
  });
}

/** What our own QEMU command line (guest/argv.ts) says of a guest; undefined where it is not one of this lab. */
export function strayOf(
  lab: string,
  argv: readonly string[],
  taps: readonly Pick<HeldTap, 'nic' | 'network' | 'mac' | 'tap'>[],
): Stray | undefined {
  const after = (option: string): string => argv[argv.indexOf(option) + 1] ?? '';
  const name = /^guest=([^,/]+)\/([^,/]+)/.exec(after('-name'));
  if (name?.[1] !== lab || name[2] === undefined) return undefined;
  return {
    name: name[2],
    image: { kind: 'file', path: '', label: 'no longer in the lab file' },
    memory: /^\d+M$/.test(after('-m')) ? memoryBytes(after('-m')) : 0,
    cpus: Number(/cpus=(\d+)/.exec(after('-smp'))?.[1] ?? 1),
    nics: taps.map(({ network, mac, tap }, index) => ({ index, network, mac, tap })),
  };
}
