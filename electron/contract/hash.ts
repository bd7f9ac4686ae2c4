// SPDX-License-Identifier: Apache-2.0
import { leaves } from './wire.ts';
import type { Leaf } from './leaf.ts';
import { z } from './zod.ts';

function schemasOf(leaf: Leaf): Record<string, z.ZodType> {
  switch (leaf.kind) {
    case 'call':
      return { in: leaf.in, out: leaf.out };
    case 'job':
    case 'bytes':
      return { in: leaf.in };
    case 'table':
      return { row: leaf.row };
    case 'gauge':
      return { value: leaf.value };
  }
}

/** The contract as one string that is the same for the same contract; what a schema refines by code is not in it. */
export function contractText(): string {
  return JSON.stringify(
    [...leaves].map(([name, leaf]) => [
      name,
      leaf.kind,
      'for' in leaf ? leaf.for : '',
      Object.entries(schemasOf(leaf)).map(([part, schema]) => [
        part,
        z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }),
      ]),
    ]),
  );
}

/** FNV-1a in 32 bits, run twice with different bases: a checksum against accidents, not against attackers. */
function fnv1a(text: string, basis: number): number {
  let hash = basis;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x0100_0193);
  }
  return hash >>> 0;
}

/**
 * Put in its place by the build (scripts/lib/contract-hash.mjs): to work it out takes some 20 ms, which every
 * command would pay. Sources that run as they are have none.
 */
declare const TAPYARD_CONTRACT_HASH: string | undefined;

let known = typeof TAPYARD_CONTRACT_HASH === 'undefined' ? undefined : TAPYARD_CONTRACT_HASH;

/** Hash of the contract that this build was made with, 16 hex digits; two builds that fit have the same. */
export function contractHash(): string {
  if (known === undefined) {
    const text = contractText();
    known = [fnv1a(text, 0x811c_9dc5), fnv1a(text, 0x1234_5678)]
      .map((part) => part.toString(16).padStart(8, '0'))
      .join('');
  }
  return known;
}
