// SPDX-License-Identifier: Apache-2.0
import type {
  AbortLike,
  BytesHandlers,
  ByteStream,
  Channel,
  Client,
  Connection,
  Subscription,
  TableChange,
} from './client.ts';
import { TapyardError } from './error.ts';
import { contractHash } from './hash.ts';
import type { BytesLeaf, CallLeaf, GaugeLeaf, JobLeaf, Leaf, TableLeaf } from './leaf.ts';
import { after } from './platform.ts';
import {
  type Hello,
  contractMismatch,
  decodeFrame,
  encodeFrame,
  issuesText,
  leaves,
  parseMessage,
  ServerMessage,
  type ClientMessage,
  type Role,
} from './wire.ts';
import { z } from './zod.ts';

/** Bytes of a stream that may be on the way to a viewer. */
export const streamWindow = 262_144;

const JobOut = z.strictObject({ job: z.string() });

type Settle = { resolve: (out: unknown) => void; reject: (error: TapyardError) => void };

/** What an id on the wire stands for, on the client's side. */
type Entry =
  | (Settle & { kind: 'call' })
  | {
      kind: 'table';
      leaf: TableLeaf;
      name: string;
      listener: (change: TableChange<unknown>) => void;
      epoch: string;
      rev: number;
      synced: boolean;
    }
  | {
      kind: 'gauge';
      leaf: GaugeLeaf;
      name: string;
      listener: (values: ReadonlyMap<string, unknown>) => void;
    }
  | { kind: 'bytes'; handlers: BytesHandlers; unreturned: number };

function brokenPeer(what: string): TapyardError {
  return new TapyardError(
    'BAD_MESSAGE',
    `The core sent something that this build does not understand: ${what}`,
    {
      hint: 'Please report this; closing and opening Tapyard connects anew.',
    },
  );
}

/**
 * Speaks the wire on `channel` as a client and derives the typed client from the contract. Waits at most
 * `deadlineMs` for the core's hello.
 * @throws TapyardError CONTRACT_MISMATCH (another version), CORE_UNREACHABLE (the channel closed or nobody
 *   answered in time), or what the core refused the connection with
 */
export function connect(
  channel: Channel,
  options: { role: Role; lasting?: boolean; deadlineMs: number },
): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const session = new Session(channel);
    const cancelDeadline = after(options.deadlineMs, () =>
      session.fail(
        new TapyardError('CORE_UNREACHABLE', 'Tapyard’s core did not answer in time.', {
          hint: 'It may be busy or stopped; try again in a moment.',
        }),
      ),
    );
    session.onHello = () => {
      cancelDeadline();
      resolve(session.connection());
    };
    void session.closed.then((error) => {
      cancelDeadline();
      reject(error);
    });
    const { role, lasting } = options;
    session.send({ t: 'hello', contract: contractHash(), role, ...(lasting === true ? { lasting } : {}) });
  });
}

class Session {
  readonly closed: Promise<TapyardError>;
  onHello: (() => void) | undefined;
  #settleClosed: (error: TapyardError) => void = () => undefined;
  #open = true;
  #greeted = false;
  #nextId = 1;
  readonly #entries = new Map<number, Entry>();
  readonly #channel: Channel;

  constructor(channel: Channel) {
    this.#channel = channel;
    this.closed = new Promise((resolve) => {
      this.#settleClosed = resolve;
    });
    channel.onMessage = (message) => this.#receive(message);
    channel.onClose = (reason) =>
      this.fail(
        new TapyardError('CORE_UNREACHABLE', `The connection to Tapyard’s core is gone: ${reason}.`, {
          hint: 'Guests keep running. Tapyard connects again by itself; a command can be repeated.',
        }),
      );
  }

  send(message: ClientMessage | Hello): void {
    if (this.#open) this.#channel.send(JSON.stringify(message));
  }

  /** Ends everything that is under way by `error`. */
  fail(error: TapyardError): void {
    if (!this.#open) return;
    this.#open = false;
    this.#channel.close();
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    this.#settleClosed(error);
    for (const entry of entries) {
      if (entry.kind === 'call') entry.reject(error);
      else if (entry.kind === 'bytes') entry.handlers.end(error);
    }
  }

  connection(): Connection {
    return {
      client: deriveClient(this),
      closed: this.closed,
      setVisible: (visible) => this.send({ t: 'visible', visible }),
      close: () =>
        this.fail(new TapyardError('CORE_UNREACHABLE', 'The connection to Tapyard’s core was closed here.')),
    };
  }

  call(name: string, leaf: CallLeaf | JobLeaf, input: unknown, signal?: AbortLike): Promise<unknown> {
    const parsed = leaf.in.safeParse(input);
    if (!parsed.success) return Promise.reject(badArguments(name, parsed.error));
    if (signal?.aborted === true) return Promise.reject(aborted(name));
    if (!this.#open) return this.closed.then((error) => Promise.reject(error));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        if (!this.#entries.delete(id)) return;
        this.send({ t: 'abort', id });
        reject(aborted(name));
      };
      const out = leaf.kind === 'call' ? leaf.out : JobOut;
      this.#entries.set(id, {
        kind: 'call',
        resolve: (value) => {
          signal?.removeEventListener('abort', onAbort);
          const result = out.safeParse(value);
          if (result.success) resolve(result.data);
          else reject(brokenPeer(`${name}: ${issuesText(result.error)}`));
        },
        reject: (error) => {
          signal?.removeEventListener('abort', onAbort);
          reject(error);
        },
      });
      signal?.addEventListener('abort', onAbort);
      // The input travels as it was given: the core parses it again and fills in defaults.
      this.send({ t: 'call', id, leaf: name, in: input });
    });
  }

  table(name: string, leaf: TableLeaf, listener: (change: TableChange<unknown>) => void): Subscription {
    return this.#subscribe(name, { kind: 'table', leaf, name, listener, epoch: '', rev: 0, synced: false });
  }

  gauge(
    name: string,
    leaf: GaugeLeaf,
    listener: (values: ReadonlyMap<string, unknown>) => void,
  ): Subscription {
    return this.#subscribe(name, { kind: 'gauge', leaf, name, listener });
  }

  bytes(name: string, leaf: BytesLeaf, input: unknown, handlers: BytesHandlers): ByteStream {
    const dead = (error: TapyardError): ByteStream => {
      // Not within this call: the caller does not hold the stream yet.
      void Promise.resolve().then(() => handlers.end(error));
      return { write: () => undefined, close: () => undefined };
    };
    const parsed = leaf.in.safeParse(input);
    if (!parsed.success) return dead(badArguments(name, parsed.error));
    if (!this.#open) return dead(new TapyardError('CORE_UNREACHABLE', 'There is no connection to the core.'));
    const id = this.#nextId++;
    let written = 0;
    this.#entries.set(id, { kind: 'bytes', handlers, unreturned: 0 });
    this.send({ t: 'open', id, leaf: name, in: input, credit: streamWindow });
    return {
      write: (chunk) => {
        if (!this.#entries.has(id) || chunk.length === 0) return;
        this.#channel.send(encodeFrame(id, written, chunk));
        written += chunk.length;
      },
      close: () => {
        if (this.#entries.delete(id)) this.send({ t: 'close', id });
      },
    };
  }

  #subscribe(name: string, entry: Entry): Subscription {
    const id = this.#nextId++;
    if (this.#open) {
      this.#entries.set(id, entry);
      this.send({ t: 'subscribe', id, leaf: name });
    }
    return {
      close: () => {
        if (this.#entries.delete(id)) this.send({ t: 'unsubscribe', id });
      },
    };
  }

  #receive(message: string | Uint8Array): void {
    if (!this.#open) return;
    if (typeof message !== 'string') {
      this.#receiveFrame(message);
      return;
    }
    const parsed = parseMessage(ServerMessage, message);
    if (parsed === undefined) this.fail(brokenPeer(message.slice(0, 80)));
    else if (parsed.t === 'refused') this.fail(TapyardError.fromData(parsed.error));
    else if (parsed.t === 'hello') this.#receiveHello(parsed.contract);
    else this.#receiveFor(parsed);
  }

  #receiveHello(hash: string): void {
    if (this.#greeted) return;
    if (hash !== contractHash()) {
      this.fail(contractMismatch());
      return;
    }
    this.#greeted = true;
    this.onHello?.();
  }

  #receiveFor(message: Exclude<ServerMessage, { t: 'hello' | 'refused' }>): void {
    const entry = this.#entries.get(message.id);
    // Late words about something that was aborted or closed here.
    if (entry === undefined) return;
    switch (message.t) {
      case 'ok':
        if (entry.kind !== 'call') break;
        this.#entries.delete(message.id);
        entry.resolve(message.out);
        return;
      case 'error':
        this.#entries.delete(message.id);
        if (entry.kind === 'call') entry.reject(TapyardError.fromData(message.error));
        else if (entry.kind === 'bytes') entry.handlers.end(TapyardError.fromData(message.error));
        // A table or a gauge that the core does not serve is a fault of the whole connection.
        else this.fail(TapyardError.fromData(message.error));
        return;
      case 'full':
      case 'change':
        if (entry.kind !== 'table') break;
        this.#receiveTable(message, entry);
        return;
      case 'gauge':
        if (entry.kind !== 'gauge') break;
        this.#receiveGauge(message.values, entry);
        return;
      case 'skip':
        if (entry.kind !== 'bytes') break;
        entry.handlers.skip?.(message.offset);
        return;
      case 'end':
        if (entry.kind !== 'bytes') break;
        this.#entries.delete(message.id);
        entry.handlers.end(message.error === undefined ? undefined : TapyardError.fromData(message.error));
        return;
    }
    this.fail(brokenPeer(`${message.t} for a ${entry.kind}`));
  }

  #receiveTable(
    message: Extract<ServerMessage, { t: 'full' | 'change' }>,
    entry: Extract<Entry, { kind: 'table' }>,
  ): void {
    if (message.t === 'change') {
      // After a gap nothing counts until the snapshot that was asked for.
      if (!entry.synced) return;
      if (message.epoch !== entry.epoch || message.from !== entry.rev) {
        entry.synced = false;
        this.send({ t: 'resnapshot', id: message.id });
        return;
      }
    }
    const rows = z.array(entry.leaf.row).safeParse(message.t === 'full' ? message.rows : message.put);
    if (!rows.success) {
      this.fail(brokenPeer(`${entry.name}: ${issuesText(rows.error)}`));
      return;
    }
    entry.epoch = message.epoch;
    entry.rev = message.rev;
    entry.synced = true;
    entry.listener(message.t === 'full' ? { full: rows.data } : { put: rows.data, del: message.del });
  }

  #receiveGauge(values: readonly [string, unknown][], entry: Extract<Entry, { kind: 'gauge' }>): void {
    const result = new Map<string, unknown>();
    for (const [id, value] of values) {
      const parsed = entry.leaf.value.safeParse(value);
      if (!parsed.success) {
        this.fail(brokenPeer(`${entry.name}: ${issuesText(parsed.error)}`));
        return;
      }
      result.set(id, parsed.data);
    }
    entry.listener(result);
  }

  #receiveFrame(message: Uint8Array): void {
    const frame = decodeFrame(message);
    if (frame === undefined) {
      this.fail(brokenPeer('a broken frame'));
      return;
    }
    const entry = this.#entries.get(frame.stream);
    if (entry?.kind !== 'bytes') return;
    entry.handlers.data(frame.payload, frame.offset);
    // In large pieces, or the credit would cost as many messages as the data.
    entry.unreturned += frame.payload.length;
    if (entry.unreturned < streamWindow / 4 || !this.#entries.has(frame.stream)) return;
    this.send({ t: 'credit', id: frame.stream, bytes: entry.unreturned });
    entry.unreturned = 0;
  }
}

function badArguments(name: string, error: z.ZodError): TapyardError {
  return new TapyardError('BAD_ARGS', `${name}: ${issuesText(error)}`, { subject: name });
}

function aborted(name: string): TapyardError {
  return new TapyardError('ABORTED', `${name} was cancelled.`, { subject: name });
}

/** The member of the client that one leaf becomes. */
function clientLeaf(session: Session, name: string, leaf: Leaf): unknown {
  switch (leaf.kind) {
    case 'call':
      return (input: unknown, options?: { signal?: AbortLike }) =>
        session.call(name, leaf, input, options?.signal);
    case 'job':
      return (input: unknown) => session.call(name, leaf, input);
    case 'table':
      return (listener: (change: TableChange<unknown>) => void) => session.table(name, leaf, listener);
    case 'gauge':
      return (listener: (values: ReadonlyMap<string, unknown>) => void) =>
        session.gauge(name, leaf, listener);
    case 'bytes':
      return (input: unknown, handlers: BytesHandlers) => session.bytes(name, leaf, input, handlers);
  }
}

function deriveClient(session: Session): Client {
  const client: Record<string, Record<string, unknown>> = {};
  for (const [name, leaf] of leaves) {
    const [group = '', member = ''] = name.split('.');
    (client[group] ??= {})[member] = clientLeaf(session, name, leaf);
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a loop cannot follow the mapped type; a test calls every leaf
  return client as Client;
}
