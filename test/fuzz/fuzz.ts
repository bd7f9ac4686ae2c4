// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/*
 * The same for TypeScript as native/netd/src/fuzz.rs for Rust: a kept corpus, mutations by a seeded dice, a
 * time box. What fails is shown in hex; kept as a file of the corpus, it is tried first from then on.
 */

const corpus = path.join(path.dirname(fileURLToPath(import.meta.url)), 'corpus');
/** Each target's share, s. */
const seconds = Number(process.env['TAPYARD_FUZZ_SECONDS'] ?? 0.5);
const seed = Number(process.env['TAPYARD_FUZZ_SEED'] ?? 1);
const longest = 16_384;
/** One input takes microseconds; a machine that does something else meanwhile may take its time, ms. */
const slowest = 5000;

/** mulberry32: whole numbers below `end`. */
function dice(start: number): (end: number) => number {
  let state = (start * 0x9e37_79b9) >>> 0;
  return (end) => {
    state = (state + 0x6d2b_79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % Math.max(end, 1);
  };
}

function mutate(input: Uint8Array, all: readonly Uint8Array[], below: (end: number) => number): Uint8Array {
  let bytes = Buffer.from(input);
  for (let changes = 1 + below(8); changes > 0; changes--) {
    const at = below(bytes.length + 1);
    const end = Math.min(at + below(64), bytes.length);
    const [head, piece, tail] = [bytes.subarray(0, at), bytes.subarray(at, end), bytes.subarray(end)];
    const other = all[below(all.length)] ?? input;
    const from = below(other.length + 1);
    switch (below(6)) {
      case 0:
        if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << below(8));
        break;
      case 1:
        if (at < bytes.length) bytes[at] = below(256);
        break;
      case 2:
        bytes = Buffer.concat([head, tail]);
        break;
      case 3:
        bytes = Buffer.concat([head, ...Array.from({ length: 1 + below(64) }, () => piece), piece, tail]);
        break;
      case 4:
        bytes = Buffer.concat([head, other.subarray(from, from + below(64)), piece, tail]);
        break;
      default:
        bytes = Buffer.from(head);
    }
    bytes = bytes.subarray(0, longest);
  }
  return bytes;
}

/** Feeds the target's corpus and mutations of it to `parse` until its time is over; how many there were. */
export async function fuzz(target: string, parse: (bytes: Uint8Array) => unknown): Promise<number> {
  const folder = path.join(corpus, target);
  const all = readdirSync(folder)
    .toSorted()
    .map((name) => new Uint8Array(readFileSync(path.join(folder, name))));
  const below = dice(seed);
  const end = performance.now() + seconds * 1000;
  let tried = 0;
  for (; tried < all.length || performance.now() < end; tried++) {
    const kept = all[tried % all.length] ?? new Uint8Array();
    const input = tried < all.length ? kept : mutate(kept, all, below);
    const begin = performance.now();
    try {
      await parse(input);
    } catch (error) {
      throw new Error(`${target} fails at ${Buffer.from(input).toString('hex')}`, { cause: error });
    }
    if (performance.now() - begin > slowest)
      throw new Error(`${target} takes long at ${Buffer.from(input).toString('hex')}`);
  }
  console.log(`fuzz ${target}: ${tried} inputs`);
  return tried;
}
