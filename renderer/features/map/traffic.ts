// SPDX-License-Identifier: Apache-2.0

/** How one direction of a cable's traffic is drawn. */
export interface Flow {
  /** Map pixels a second. */
  readonly speed: number;
  /** Map pixels from one dot to the next. */
  readonly spacing: number;
}

/** Below this a cable is quiet: a lease renewed now and then is not traffic. Bits a second. */
export const quietBits = 500;

/**
 * Speed and density of the dots for a rate, by its order of magnitude: 1 kb/s creeps with one dot, 1 Gb/s is a
 * dense quick row. Null for a quiet cable. Pure.
 */
export function flowOf(bits: number): Flow | null {
  if (!(bits >= quietBits)) return null;
  const magnitude = Math.min(1, Math.max(0, (Math.log10(bits) - 3) / 6));
  return { speed: 34 + 130 * magnitude, spacing: 150 - 118 * magnitude };
}
