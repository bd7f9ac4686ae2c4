// SPDX-License-Identifier: Apache-2.0

/** A guest's question: when, by a clock in ms, and whether all whom it asked have answered. */
export interface Ask {
  readonly at: number;
  readonly answered: boolean;
}

/** A time in which no question was answered: from the last that was, to the next that was (or never yet). */
export interface Cut {
  readonly from: number;
  readonly to: number;
}

/** When the guest was cut off. A pause in which nothing was asked is none. */
export function cuts(asks: readonly Ask[]): Cut[] {
  const found: Cut[] = [];
  let from: number | undefined;
  let last: number | undefined;
  for (const { at, answered } of asks) {
    if (!answered) from ??= last ?? at;
    else {
      if (from !== undefined) found.push({ from, to: at });
      from = undefined;
      last = at;
    }
  }
  if (from !== undefined) found.push({ from, to: Infinity });
  return found;
}
