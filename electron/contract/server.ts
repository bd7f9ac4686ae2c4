// SPDX-License-Identifier: Apache-2.0
import type { AbortLike, Subscription } from './client.ts';
import type { Contract } from './contract.ts';
import type { TapyardError } from './error.ts';
import type { Audience, BytesLeaf, CallLeaf, GaugeLeaf, JobLeaf, TableLeaf } from './leaf.ts';
import type { z } from './zod.ts';

/** What a handler knows of the request besides its input. */
export interface CallContext {
  /** Aborted when the caller aborts or its connection goes. */
  readonly signal: AbortLike;
  readonly audience: Audience;
}

/** A table that can be followed: `rows()` is the state at `rev`; each change raises `rev` by one. */
export interface TableSource<Row> {
  /** Changes when the table starts anew, so that a client never mixes two histories. */
  readonly epoch: string;
  readonly rev: number;
  rows(): readonly Row[];
  subscribe(listener: (put: readonly Row[], del: readonly string[]) => void): Subscription;
}

/** A gauge samples only between the first `subscribe` and the last `close`. */
export interface GaugeSource<Value> {
  subscribe(listener: (values: ReadonlyMap<string, Value>) => void): Subscription;
}

/** Where the core writes a byte stream to. Never write more bytes than `credit`. */
export interface ByteSink {
  /** Bytes that the viewer is ready to take. */
  readonly credit: number;
  /** Called when `credit` grows. */
  onCredit: (() => void) | undefined;
  data(chunk: Uint8Array, offset: number): void;
  skip(offset: number): void;
  end(error?: TapyardError): void;
}

/** What the viewer does to a byte stream. */
export interface ByteIntake extends Subscription {
  write(chunk: Uint8Array): void;
}

type Output<Leaf extends { readonly in: z.ZodType }> = z.output<Leaf['in']>;

type ServerLeaf<Leaf> = Leaf extends CallLeaf
  ? (input: Output<Leaf>, context: CallContext) => Promise<z.input<Leaf['out']>>
  : Leaf extends JobLeaf
    ? (input: Output<Leaf>, context: CallContext) => Promise<{ job: string }>
    : Leaf extends TableLeaf
      ? TableSource<z.output<Leaf['row']>>
      : Leaf extends GaugeLeaf
        ? GaugeSource<z.output<Leaf['value']>>
        : Leaf extends BytesLeaf
          ? (input: Output<Leaf>, sink: ByteSink) => Promise<ByteIntake>
          : never;

/** What a core implements, derived from the contract. Inputs have been parsed by its schemas. */
export type Server = {
  readonly [Group in keyof Contract]: {
    readonly [Name in keyof Contract[Group]]: ServerLeaf<Contract[Group][Name]>;
  };
};
