// SPDX-License-Identifier: Apache-2.0
import type { Contract } from './contract.ts';
import type { TapyardError } from './error.ts';
import type { BytesLeaf, CallLeaf, GaugeLeaf, JobLeaf, TableLeaf } from './leaf.ts';
import type { z } from './zod.ts';

/** What an AbortSignal offers; the contract knows neither DOM nor Node. */
export interface AbortLike {
  readonly aborted: boolean;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** Ends a subscription or closes a stream; calling it again does nothing. */
export interface Subscription {
  close(): void;
}

/**
 * A change of a table. `full` replaces everything (first answer, a new epoch, a gap); else `put` and `del`
 * are whole entities and ids. Applied in order they give the core's table.
 */
export type TableChange<Row> =
  { readonly full: readonly Row[] } | { readonly put: readonly Row[]; readonly del: readonly string[] };

/** What a reader of a byte stream gets. */
export interface BytesHandlers {
  /** `offset` is the absolute offset of the first byte (0-based; for streams without offsets the running count). */
  data(chunk: Uint8Array, offset: number): void;
  /** Bytes up to `offset` are gone: the viewer fell behind, or the log was capped. */
  skip?(offset: number): void;
  /** The stream ended; `error` undefined when the other side closed it in good order. */
  end(error: TapyardError | undefined): void;
}

/** A byte stream both ways. Credit is given back as `data` returns. */
export interface ByteStream extends Subscription {
  write(chunk: Uint8Array): void;
}

type Input<Leaf extends { readonly in: z.ZodType }> = z.input<Leaf['in']>;

type ClientLeaf<Leaf> = Leaf extends CallLeaf
  ? (input: Input<Leaf>, options?: { signal?: AbortLike }) => Promise<z.output<Leaf['out']>>
  : Leaf extends JobLeaf
    ? (input: Input<Leaf>) => Promise<{ job: string }>
    : Leaf extends TableLeaf
      ? (listener: (change: TableChange<z.output<Leaf['row']>>) => void) => Subscription
      : Leaf extends GaugeLeaf
        ? // `values` holds what is new since the last time; an id that is not in it keeps its value.
          (listener: (values: ReadonlyMap<string, z.output<Leaf['value']>>) => void) => Subscription
        : Leaf extends BytesLeaf
          ? (input: Input<Leaf>, handlers: BytesHandlers) => ByteStream
          : never;

/**
 * The client that is derived from the contract: `client.guest.start({lab, guest})`, `client.tables.guests(…)`.
 * Calls reject with a {@link TapyardError}.
 */
export type Client = {
  readonly [Group in keyof Contract]: {
    readonly [Name in keyof Contract[Group]]: ClientLeaf<Contract[Group][Name]>;
  };
};

/** A client and the connection under it. */
export interface Connection extends Subscription {
  readonly client: Client;
  /** Settles when the connection is gone, with the reason. */
  readonly closed: Promise<TapyardError>;
  /** Tells the core whether somebody looks: gauges rest while nobody does. True at first. */
  setVisible(visible: boolean): void;
}

/** A message channel of any kind: WebSocket, MessagePort, unix socket, an in-memory pair. Messages keep order. */
export interface Channel {
  /** Text is one JSON message of the wire, bytes are one frame of a stream. */
  send(message: string | Uint8Array): void;
  close(): void;
  /** Set once by the user of the channel before anything arrives. */
  onMessage: ((message: string | Uint8Array) => void) | undefined;
  onClose: ((reason: string) => void) | undefined;
  /** Bytes handed to `send` that have not left yet, where the transport can tell; else 0. */
  readonly buffered: number;
}
