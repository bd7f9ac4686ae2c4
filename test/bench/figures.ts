// SPDX-License-Identifier: Apache-2.0
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

/** One line of the table: a figure, what it is compared with in the same run, and what it should be. */
export interface Figure {
  readonly what: string;
  readonly unit: 'ms' | '×' | 'kB' | 'MB' | 'Gbit/s' | '% of a core';
  /** null where this machine cannot measure it; `note` says why. */
  readonly figure: number | null;
  /** 95th (or the named) percentile, where it tells something. */
  readonly p95?: number;
  /** The other side, measured alternately with ours in the same run. */
  readonly beside?: { readonly what: string; readonly figure: number; readonly p95?: number };
  /** Ours by theirs. */
  readonly ratio?: number;
  /** In words, such as `< 0.5×`; null where it is only told. */
  readonly aim: string | null;
  readonly met: boolean | null;
  readonly note?: string;
}

/** The value below which `share` of the values lie (nearest rank); NaN of none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

/** The middle value, of an even count the mean of the two in the middle; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  const upper = sorted[half] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? Number.NaN) + upper) / 2;
}

/** Three significant digits: more would be noise. */
export const rounded = (value: number): number => Number(value.toPrecision(3));

/** Ours beside theirs with the ratio of the medians; met when that is under `limit`, where there is one. */
export function compared(
  what: string,
  ours: readonly number[],
  theirs: { readonly what: string; readonly samples: readonly number[] },
  limit?: number,
  note?: string,
): Figure {
  const ratio = median(ours) / median(theirs.samples);
  return {
    what,
    unit: 'ms',
    figure: rounded(median(ours)),
    p95: rounded(percentile(ours, 0.95)),
    beside: {
      what: theirs.what,
      figure: rounded(median(theirs.samples)),
      p95: rounded(percentile(theirs.samples, 0.95)),
    },
    ratio: rounded(ratio),
    aim: limit === undefined ? null : `< ${limit}×`,
    met: limit === undefined ? null : ratio < limit,
    ...(note === undefined ? {} : { note }),
  };
}

/**
 * Runs the sides by turns, so that what else the machine does meets all alike; the first round is not counted.
 * Answers the samples of each side, in the order of the sides.
 */
export async function byTurns<Sample>(
  rounds: number,
  sides: readonly (() => Promise<Sample>)[],
): Promise<(side: number) => Sample[]> {
  const samples: Sample[][] = sides.map(() => []);
  for (let round = 0; round <= rounds; round += 1) {
    for (const [index, side] of sides.entries()) {
      const sample = await side();
      if (round > 0) samples[index]?.push(sample);
    }
  }
  return (side) => samples[side] ?? [];
}

/** A measurement and what it is called in the table when it cannot be done. */
export type Measurement = readonly [what: string, measure: () => Promise<readonly Figure[]>];

/**
 * Does the measurements one after another and writes their figures as JSON to the file named by --json. One that
 * fails becomes a line which says why, and the others go on.
 */
export async function report(measurements: readonly Measurement[]): Promise<void> {
  const { values } = parseArgs({ options: { json: { type: 'string' } } });
  const figures: Figure[] = [];
  for (const [what, measure] of measurements) {
    console.error(`${what} …`);
    try {
      figures.push(...(await measure()));
    } catch (error) {
      const note = `not measured: ${error instanceof Error ? error.message : String(error)}`;
      figures.push({ what, unit: 'ms', figure: null, aim: null, met: null, note });
    }
  }
  const text = `${JSON.stringify(figures, null, 2)}\n`;
  if (values.json === undefined) console.log(text);
  else writeFileSync(values.json, text);
}
