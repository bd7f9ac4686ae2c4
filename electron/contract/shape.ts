// SPDX-License-Identifier: Apache-2.0
import { z } from './zod.ts';

/*
 * What each direction of a NIC is held to, as people write it: `rate: 10mbit` (tc's units, powers of 1000),
 * `delay: 20ms`, `jitter: 5ms`, `loss: 1%`. As numbers: bits per second, microseconds, packets of a million.
 */

const units = { bit: 1, kbit: 1000, mbit: 1_000_000, gbit: 1_000_000_000 } as const;

/** The number before a unit, and the unit; undefined where it is not of this form. */
function parse(text: string, unit: string): { number: number; unit: string } | undefined {
  const match = new RegExp(`^([0-9]{1,9}(?:\\.[0-9]{1,6})?)(${unit})$`).exec(text);
  return match ? { number: Number(match[1]), unit: match[2] ?? '' } : undefined;
}

const rate = (text: string): number => {
  const parsed = parse(text, 'bit|kbit|mbit|gbit');
  if (!parsed) return NaN;
  const unit = Object.entries(units).find(([name]) => name === parsed.unit)?.[1] ?? NaN;
  // The kernel counts bytes.
  return Math.floor((parsed.number * unit) / 8) * 8;
};
const microseconds = (text: string): number => Math.round((parse(text, 'ms')?.number ?? NaN) * 1000);
const millionth = (text: string): number => Math.round((parse(text, '%')?.number ?? NaN) * 10_000);

/** What is expected of each, in words. */
export const shapeWords = {
  rate: 'a rate such as 512kbit, 10mbit or 1gbit, from 8kbit to 10gbit',
  delay: 'a delay such as 20ms, at most 10000ms',
  jitter: 'a jitter such as 5ms, at most the delay',
  loss: 'a loss such as 1% or 0.5%',
} as const;

const between =
  (least: number, most: number, number: (text: string) => number) =>
  (text: string): boolean =>
    number(text) >= least && number(text) <= most;

export const Rate = z.string().refine(between(8000, 10_000_000_000, rate), shapeWords.rate);
export const Delay = z.string().refine(between(1, 10_000_000, microseconds), shapeWords.delay);
export const Jitter = z.string().refine(between(1, 10_000_000, microseconds), shapeWords.jitter);
export const Loss = z.string().refine(between(1, 1_000_000, millionth), shapeWords.loss);

/** What each direction of a NIC is held to; what is left out is not held to anything. */
export const ShapeDefinition = z.strictObject({
  /** Bits per second, in `bit`, `kbit`, `mbit` or `gbit`. */
  rate: Rate.optional(),
  /** How long each packet is held up, in `ms`: a ping takes twice as long. */
  delay: Delay.optional(),
  /** By how much the delay varies, in `ms`. */
  jitter: Jitter.optional(),
  /** How many packets are lost, in `%`. */
  loss: Loss.optional(),
});
export type ShapeDefinition = z.infer<typeof ShapeDefinition>;

/** The same as numbers; 0 is none. */
export interface ShapeNumbers {
  /** Bits per second. */
  readonly rate: number;
  /** Microseconds. */
  readonly delay: number;
  /** Microseconds. */
  readonly jitter: number;
  /** Packets of a million. */
  readonly loss: number;
}

/** Of a shape that has passed its schema. */
export const shapeNumbers = (shape: ShapeDefinition): ShapeNumbers => ({
  rate: shape.rate === undefined ? 0 : rate(shape.rate),
  delay: shape.delay === undefined ? 0 : microseconds(shape.delay),
  jitter: shape.jitter === undefined ? 0 : microseconds(shape.jitter),
  loss: shape.loss === undefined ? 0 : millionth(shape.loss),
});

/** Whether there is anything that it holds to. */
export const isShape = (shape: ShapeDefinition): boolean =>
  Object.values(shape).some((value) => value !== undefined);

/** Whether two hold to the same, however they are written. */
export const sameShape = (a: ShapeNumbers, b: ShapeNumbers): boolean =>
  a.rate === b.rate && a.delay === b.delay && a.jitter === b.jitter && a.loss === b.loss;

/** Held to nothing. */
export const noShape: ShapeNumbers = { rate: 0, delay: 0, jitter: 0, loss: 0 };

/** As people write it, in the largest unit without a fraction; empty for none. */
export function shapeOf(numbers: ShapeNumbers): ShapeDefinition {
  const [unit, factor] =
    Object.entries(units)
      .toReversed()
      .find(([, size]) => numbers.rate % size === 0) ?? (['bit', 1] as const);
  return {
    ...(numbers.rate === 0 ? {} : { rate: `${numbers.rate / factor}${unit}` }),
    ...(numbers.delay === 0 ? {} : { delay: `${numbers.delay / 1000}ms` }),
    ...(numbers.jitter === 0 ? {} : { jitter: `${numbers.jitter / 1000}ms` }),
    ...(numbers.loss === 0 ? {} : { loss: `${numbers.loss / 10_000}%` }),
  };
}

/** Why a jitter does not go with a delay; undefined where it does. */
export function jitterProblem({ delay, jitter }: ShapeDefinition): string | undefined {
  if (jitter === undefined) return undefined;
  if (delay === undefined) return 'a jitter is of a delay, and there is none';
  return microseconds(jitter) > microseconds(delay)
    ? `a jitter of ${jitter} is more than the delay, ${delay}`
    : undefined;
}

/** For people, in one line: `10mbit, 20ms ± 5ms, 1% lost`. */
export function shapeText({ rate: speed, delay, jitter, loss }: ShapeDefinition): string {
  const held = delay === undefined ? undefined : `${delay}${jitter === undefined ? '' : ` ± ${jitter}`}`;
  const lost = loss === undefined ? undefined : `${loss} lost`;
  return [speed, held, lost].filter((part) => part !== undefined).join(', ');
}
