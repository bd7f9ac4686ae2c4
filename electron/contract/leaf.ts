// SPDX-License-Identifier: Apache-2.0
import type { ErrorCode } from './error.ts';
import type { z } from './zod.ts';

/**
 * Who may use a leaf: `anyone` who holds a connection (a browser's window too), `user` only this user's
 * own CLI or desktop window (a unix socket or Electron, never a browser), `shell` the Electron shell alone.
 */
export type Audience = 'anyone' | 'user' | 'shell';

/** A request with one answer. Abortable by the caller. */
export interface CallLeaf<In extends z.ZodType = z.ZodType, Out extends z.ZodType = z.ZodType> {
  readonly kind: 'call';
  readonly in: In;
  readonly out: Out;
  /** The codes that it can answer with besides those of every call (ABORTED, DEADLINE, INTERNAL, BAD_ARGS). */
  readonly errors: readonly ErrorCode[];
  /** Whether doing it twice is the same as doing it once, so a client may repeat it after a lost connection. */
  readonly idempotent: boolean;
  readonly for: Audience;
}

/** Long work with progress. Starting it answers `{job}`; the `jobs` table tells the rest. */
export interface JobLeaf<In extends z.ZodType = z.ZodType> {
  readonly kind: 'job';
  readonly in: In;
  readonly errors: readonly ErrorCode[];
  readonly for: Audience;
}

/** Entities by id: a full snapshot, then whole entities put and ids deleted. */
export interface TableLeaf<Row extends z.ZodType = z.ZodType> {
  readonly kind: 'table';
  readonly row: Row;
}

/** The latest value wins, by id; sampled at most 5 times a second and only while somebody looks. */
export interface GaugeLeaf<Value extends z.ZodType = z.ZodType> {
  readonly kind: 'gauge';
  readonly value: Value;
}

/** A stream both ways; what the core sends carries absolute offsets where `offsets` says so. */
export interface BytesLeaf<In extends z.ZodType = z.ZodType> {
  readonly kind: 'bytes';
  readonly in: In;
  readonly offsets: boolean;
  readonly errors: readonly ErrorCode[];
}

export type Leaf = CallLeaf | JobLeaf | TableLeaf | GaugeLeaf | BytesLeaf;

export const call = <In extends z.ZodType, Out extends z.ZodType>(
  leaf: Omit<CallLeaf<In, Out>, 'kind'>,
): CallLeaf<In, Out> => ({ kind: 'call', ...leaf });
export const job = <In extends z.ZodType>(leaf: Omit<JobLeaf<In>, 'kind'>): JobLeaf<In> => ({
  kind: 'job',
  ...leaf,
});
export const table = <Row extends z.ZodType>(row: Row): TableLeaf<Row> => ({ kind: 'table', row });
export const gauge = <Value extends z.ZodType>(value: Value): GaugeLeaf<Value> => ({ kind: 'gauge', value });
export const bytes = <In extends z.ZodType>(leaf: Omit<BytesLeaf<In>, 'kind'>): BytesLeaf<In> => ({
  kind: 'bytes',
  ...leaf,
});
