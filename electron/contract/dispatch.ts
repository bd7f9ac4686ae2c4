// SPDX-License-Identifier: Apache-2.0
import type { Channel, Subscription } from './client.ts';
import { TapyardError } from './error.ts';
import { GaugeFeed, TableFeed } from './feed.ts';
import { contractHash } from './hash.ts';
import type { Audience, BytesLeaf, CallLeaf, JobLeaf, Leaf } from './leaf.ts';
import { abortable, after } from './platform.ts';
import type { ByteIntake, ByteSink, CallContext, GaugeSource, Server, TableSource } from './server.ts';
import { StreamFeed } from './sink.ts';
import {
  ClientMessage,
  contractMismatch,
  decodeFrame,
  effectiveAudience,
  Hello,
  issuesText,
  leaves,
  mayUse,
  parseMessage,
  type ServerMessage,
} from './wire.ts';

/** Calls, subscriptions and streams that one connection may have open. */
export const openLimit = 512;
/** Whom a call refuses the others for. */
const onlyFor = {
  anyone: 'for everybody',
  user: 'for this user’s own commands and desktop window only',
  shell: 'for the desktop window only',
} as const;
/** A client that says nothing is closed after this, ms. */
const helloDeadline = 10_000;

type Implementation =
  | {
      kind: 'call';
      leaf: CallLeaf | JobLeaf;
      run: (input: unknown, context: CallContext) => Promise<unknown>;
    }
  | { kind: 'table'; source: TableSource<unknown> }
  | { kind: 'gauge'; source: GaugeSource<unknown> }
  | { kind: 'bytes'; leaf: BytesLeaf; open: (input: unknown, sink: ByteSink) => Promise<ByteIntake> };

type Callable = (...given: readonly unknown[]) => unknown;
const isCallable = (value: unknown): value is Callable => typeof value === 'function';
const has = (value: unknown, ...methods: readonly string[]): value is object =>
  typeof value === 'object' &&
  value !== null &&
  methods.every((name) => isCallable(Reflect.get(value, name)));
const isTable = (value: unknown): value is TableSource<unknown> => has(value, 'rows', 'subscribe');
const isGauge = (value: unknown): value is GaugeSource<unknown> => has(value, 'subscribe');
const isIntake = (value: unknown): value is ByteIntake => has(value, 'write', 'close');

/** What a server does for `leaf`; undefined where its member is something else than the contract says. */
function implementation(leaf: Leaf, member: unknown): Implementation | undefined {
  switch (leaf.kind) {
    case 'call':
    case 'job':
      return isCallable(member)
        ? { kind: 'call', leaf, run: async (input, context) => member(input, context) }
        : undefined;
    case 'table':
      return isTable(member) ? { kind: 'table', source: member } : undefined;
    case 'gauge':
      return isGauge(member) ? { kind: 'gauge', source: member } : undefined;
    case 'bytes':
      return isCallable(member) ? { kind: 'bytes', leaf, open: opener(member) } : undefined;
  }
}

const opener =
  (open: Callable) =>
  async (input: unknown, sink: ByteSink): Promise<ByteIntake> => {
    const intake = await open(input, sink);
    if (!isIntake(intake))
      throw new TapyardError('INTERNAL', 'A byte stream of the core cannot be written to.');
    return intake;
  };

/**
 * A server's members by their names on the wire. `Server` is derived from the contract leaf by leaf, which a
 * loop over names cannot follow: so each member is looked at. One that is missing is answered as such.
 */
function implementations(server: Server): ReadonlyMap<string, Implementation> {
  const groups = new Map<string, object>(Object.entries(server));
  const result = new Map<string, Implementation>();
  for (const [name, leaf] of leaves) {
    const [group = '', member = ''] = name.split('.');
    const found = implementation(leaf, Reflect.get(groups.get(group) ?? {}, member));
    if (found !== undefined) result.set(name, found);
  }
  return result;
}

/**
 * Serves one client on `channel` until it goes or `close` is called. `audience` is what the transport allows
 * at most; the client's role can lower it. Nothing that a client sends makes this throw, and nothing
 * reaches a handler of `server` but what the contract's schemas have parsed.
 */
export function serveChannel(
  channel: Channel,
  server: Server,
  options: { audience: Audience; onClose?: () => void },
): Served {
  return new Peer(channel, implementations(server), options);
}

/** A client that is served. */
export interface Served extends Subscription {
  /** Whether it would lose something if the core ended now: an answer, or a command that does not start again. */
  readonly waits: boolean;
}

class Peer implements Served {
  readonly #channel: Channel;
  readonly #members: ReadonlyMap<string, Implementation>;
  readonly #onClose: (() => void) | undefined;
  readonly #cancelDeadline: () => void;
  readonly #calls = new Map<number, () => void>();
  readonly #tables = new Map<number, TableFeed>();
  readonly #gauges = new Map<number, GaugeFeed>();
  readonly #streams = new Map<number, StreamFeed>();
  #audience: Audience;
  #greeted = false;
  /** A command that ends by itself. */
  #finite = false;
  #visible = true;
  #open = true;

  constructor(
    channel: Channel,
    members: ReadonlyMap<string, Implementation>,
    options: { audience: Audience; onClose?: () => void },
  ) {
    this.#channel = channel;
    this.#members = members;
    this.#audience = options.audience;
    this.#onClose = options.onClose;
    this.#cancelDeadline = after(helloDeadline, () =>
      this.#refuse(new TapyardError('HELLO_FIRST', 'The client did not say hello in time.')),
    );
    channel.onMessage = (message) => {
      try {
        this.#receive(message);
      } catch (thrown) {
        this.#refuse(TapyardError.from(thrown));
      }
    };
    channel.onClose = () => this.close();
  }

  get waits(): boolean {
    return this.#open && (!this.#greeted || this.#finite || this.#calls.size > 0);
  }

  /** Lets go of everything that the client had open and aborts its calls. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#cancelDeadline();
    for (const abort of this.#calls.values()) abort();
    for (const feeds of [this.#tables, this.#gauges, this.#streams]) {
      for (const feed of feeds.values()) feed.close();
      feeds.clear();
    }
    this.#calls.clear();
    this.#channel.close();
    this.#onClose?.();
  }

  #send(message: ServerMessage): void {
    if (this.#open) this.#channel.send(JSON.stringify(message));
  }

  #refuse(error: TapyardError): void {
    this.#send({ t: 'refused', error: error.toData() });
    this.close();
  }

  #receive(message: string | Uint8Array): void {
    if (!this.#open) return;
    if (!this.#greeted) {
      this.#receiveHello(message);
    } else if (typeof message === 'string') {
      const parsed = parseMessage(ClientMessage, message);
      if (parsed === undefined) this.#refuse(badMessage());
      else this.#receiveMessage(parsed);
    } else {
      const frame = decodeFrame(message);
      if (frame === undefined) this.#refuse(badMessage());
      else this.#streams.get(frame.stream)?.receive(frame.payload, frame.offset);
    }
  }

  #receiveHello(message: string | Uint8Array): void {
    const hello = typeof message === 'string' ? parseMessage(Hello, message) : undefined;
    if (hello === undefined) {
      this.#refuse(new TapyardError('HELLO_FIRST', 'The first message of a client is its hello.'));
    } else if (hello.contract !== contractHash()) {
      this.#refuse(contractMismatch());
    } else {
      this.#cancelDeadline();
      this.#greeted = true;
      this.#audience = effectiveAudience(this.#audience, hello.role);
      this.#finite = hello.role === 'cli' && hello.lasting !== true;
      this.#send({ t: 'hello', contract: contractHash() });
    }
  }

  #receiveMessage(message: ClientMessage): void {
    switch (message.t) {
      case 'call':
        this.#begin(message.id, message.leaf, (member) =>
          this.#call(message.id, message.leaf, member, message.in),
        );
        return;
      case 'subscribe':
        this.#begin(message.id, message.leaf, (member) => this.#subscribe(message.id, member));
        return;
      case 'open':
        this.#begin(message.id, message.leaf, (member) =>
          this.#openStream(message.id, message.leaf, member, message.in, message.credit),
        );
        return;
      case 'abort':
        this.#calls.get(message.id)?.();
        return;
      case 'unsubscribe':
        this.#tables.get(message.id)?.close();
        this.#tables.delete(message.id);
        this.#gauges.get(message.id)?.close();
        this.#gauges.delete(message.id);
        return;
      case 'resnapshot':
        this.#tables.get(message.id)?.resnapshot();
        return;
      case 'credit':
        this.#streams.get(message.id)?.grant(message.bytes);
        return;
      case 'close':
        this.#streams.get(message.id)?.close();
        return;
      case 'visible':
        this.#visible = message.visible;
        for (const gauge of this.#gauges.values()) gauge.setVisible(message.visible);
        return;
    }
  }

  /** Finds the leaf; `run` answers false when it is not of the kind that the message asked for. */
  #begin(id: number, name: string, run: (member: Implementation) => boolean): void {
    const maps = [this.#calls, this.#tables, this.#gauges, this.#streams];
    if (maps.some((map) => map.has(id))) {
      this.#refuse(badMessage());
      return;
    }
    if (maps.reduce((sum, map) => sum + map.size, 0) >= openLimit) {
      this.#error(
        id,
        new TapyardError('BUSY', 'This connection has too many requests open.', { subject: name }),
      );
      return;
    }
    const member = this.#members.get(name);
    if (member === undefined || !run(member)) {
      this.#error(
        id,
        new TapyardError('NO_SUCH_CALL', `The core has no “${name.slice(0, 64)}” of this kind.`),
      );
    }
  }

  #error(id: number, error: TapyardError): void {
    this.#send({ t: 'error', id, error: error.toData() });
  }

  #call(id: number, name: string, member: Implementation, input: unknown): boolean {
    if (member.kind !== 'call') return false;
    if (!mayUse(this.#audience, member.leaf.for)) {
      this.#error(
        id,
        new TapyardError('NOT_ALLOWED', `${name} is ${onlyFor[member.leaf.for]}.`, {
          hint: 'Use the command in a terminal (tapyard ls), or the desktop window.',
          subject: name,
        }),
      );
      return true;
    }
    const parsed = member.leaf.in.safeParse(input);
    if (!parsed.success) {
      this.#error(
        id,
        new TapyardError('BAD_ARGS', `${name}: ${issuesText(parsed.error)}`, { subject: name }),
      );
      return true;
    }
    const { signal, abort } = abortable();
    this.#calls.set(id, abort);
    void this.#answer(id, name, member, parsed.data, { signal, audience: this.#audience });
    return true;
  }

  async #answer(
    id: number,
    name: string,
    member: Extract<Implementation, { kind: 'call' }>,
    input: unknown,
    context: CallContext,
  ): Promise<void> {
    let message: ServerMessage;
    try {
      const out = await member.run(input, context);
      if (member.leaf.kind === 'call') {
        const parsed = member.leaf.out.safeParse(out);
        if (!parsed.success) throw new Error(`${name} answered: ${issuesText(parsed.error)}`);
      }
      message = { t: 'ok', id, out };
    } catch (thrown) {
      message = { t: 'error', id, error: TapyardError.from(thrown).toData() };
    }
    this.#calls.delete(id);
    // A caller that reads a table after the answer finds there what its call has done.
    for (const table of this.#tables.values()) table.flush();
    this.#send(message);
  }

  #subscribe(id: number, member: Implementation): boolean {
    const send = (message: ServerMessage): void => this.#send(message);
    if (member.kind === 'table') {
      this.#tables.set(id, new TableFeed(id, member.source, this.#channel, send));
    } else if (member.kind === 'gauge') {
      this.#gauges.set(id, new GaugeFeed(id, member.source, this.#channel, send, this.#visible));
    } else {
      return false;
    }
    return true;
  }

  #openStream(id: number, name: string, member: Implementation, input: unknown, credit: number): boolean {
    if (member.kind !== 'bytes') return false;
    const parsed = member.leaf.in.safeParse(input);
    if (!parsed.success) {
      this.#error(
        id,
        new TapyardError('BAD_ARGS', `${name}: ${issuesText(parsed.error)}`, { subject: name }),
      );
      return true;
    }
    const feed = new StreamFeed(
      id,
      credit,
      this.#channel,
      (message) => this.#send(message),
      () => this.#streams.delete(id),
    );
    this.#streams.set(id, feed);
    void openInto(feed, () => member.open(parsed.data, feed));
    return true;
  }
}

async function openInto(feed: StreamFeed, open: () => Promise<ByteIntake>): Promise<void> {
  try {
    feed.attach(await open());
  } catch (thrown) {
    feed.end(TapyardError.from(thrown));
  }
}

function badMessage(): TapyardError {
  return new TapyardError('BAD_MESSAGE', 'The core got a message that is none of the wire’s.', {
    hint: 'Please report this; closing and opening Tapyard connects anew.',
  });
}
