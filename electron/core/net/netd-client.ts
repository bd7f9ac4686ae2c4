// SPDX-License-Identifier: Apache-2.0
import { createConnection, type Socket } from 'node:net';
import { TapyardError } from '../../contract/error.ts';
import type { NetdArgs, NetdEvent, NetdReply, NetdVerb } from './netd-protocol.ts';
import { NetdLine, protocolVersion, readReply, requestLimit } from './netd-protocol.ts';

/** A line of netd that is longer than this is a defect of netd; a snapshot of 1000 links has about 400 kB. */
const lineLimit = 16 * 2 ** 20;

/** How long netd may take, ms. Removing and applying wait for dnsmasq and for every object of the kernel. */
const deadlines: Readonly<Record<NetdVerb, number>> = {
  hello: 5_000,
  apply_network: 30_000,
  remove_network: 30_000,
  set_nat: 10_000,
  expose: 10_000,
  unexpose: 10_000,
  set_shape: 10_000,
  observe: 10_000,
  counters: 5_000,
  acts: 5_000,
  shutdown: 30_000,
};

interface Waiting {
  readonly settle: (result: { ok: unknown } | { error: TapyardError }) => void;
}

/** A connection to netd. Every failure is a {@link TapyardError}; nothing waits without a deadline. */
export class NetdClient {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiting>();
  readonly #chunks: Buffer[] = [];
  #length = 0;
  #nextId = 1;
  #gone: TapyardError | undefined;
  #settleClosed: (reason: TapyardError) => void = () => {};

  /** What netd said of itself; set by {@link NetdClient.connect}. */
  hello: NetdReply<'hello'>;
  /** Called with each event once `observe` was asked. */
  onEvent: ((event: NetdEvent) => void) | undefined;
  /** Settles with the reason when the connection is gone. */
  readonly closed: Promise<TapyardError>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.hello = { protocol: 0, version: '', scope: 'private', lab: null, uid: 0, pid: 0, instance: '' };
    this.closed = new Promise((resolve) => (this.#settleClosed = resolve));
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (error) => this.#end(gone(error.message)));
    socket.on('close', () => this.#end(gone('it closed the connection')));
  }

  /**
   * Connects and says hello. Rejects with NETD_MISSING where nobody listens at `path`, PROTOCOL_MISMATCH
   * where netd is of another version, DEADLINE.
   */
  static async connect(path: string): Promise<NetdClient> {
    const socket = createConnection({ path });
    await new Promise<void>((resolve, reject) => {
      const fail = (error: Error): void => {
        socket.destroy();
        reject(
          new TapyardError('NETD_MISSING', `Nobody listens at ${path}: ${error.message}.`, {
            hint: 'Bring the lab up.',
            subject: path,
          }),
        );
      };
      const timer = setTimeout(() => fail(new Error('no answer')), deadlines.hello);
      socket.once('connect', () => {
        clearTimeout(timer);
        socket.off('error', fail);
        resolve();
      });
      socket.once('error', (error) => {
        clearTimeout(timer);
        fail(error);
      });
    });
    const client = new NetdClient(socket);
    try {
      client.hello = await client.request('hello', { protocol: protocolVersion, client: 'core' });
      return client;
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /** Asks netd. Rejects with netd's own error, DEADLINE, or NETD_FAILED when it goes away meanwhile. */
  async request<Verb extends NetdVerb>(verb: Verb, args: NetdArgs[Verb]): Promise<NetdReply<Verb>> {
    if (this.#gone) throw this.#gone;
    const id = this.#nextId;
    this.#nextId = (this.#nextId + 1) % 2 ** 32;
    const line = `${JSON.stringify({ id, verb, args })}\n`;
    if (Buffer.byteLength(line) > requestLimit)
      throw new TapyardError('TOO_LARGE', `The request ${verb} is larger than netd accepts.`, {
        hint: 'A network with fewer reserved addresses fits.',
      });
    const result = await new Promise<{ ok: unknown } | { error: TapyardError }>((resolve) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        const message = `The network helper did not answer ${verb} within ${deadlines[verb] / 1000} s.`;
        resolve({ error: new TapyardError('DEADLINE', message, { hint: 'Try again; see its log.' }) });
      }, deadlines[verb]);
      this.#waiting.set(id, {
        settle: (outcome) => {
          clearTimeout(timer);
          resolve(outcome);
        },
      });
      this.#socket.write(line);
    });
    if ('error' in result) throw result.error;
    const reply = readReply[verb](result.ok);
    if (reply === undefined)
      throw new TapyardError(
        'NETD_FAILED',
        `The network helper answered ${verb} in a way that is not understood.`,
        {
          hint: 'The core and the helper are of different versions: bring the lab down and up again.',
        },
      );
    return reply;
  }

  close(): void {
    this.#socket.destroy();
    this.#end(gone('the connection was closed here'));
  }

  #receive(chunk: Buffer): void {
    let rest = chunk;
    for (let newline = rest.indexOf(0x0a); newline !== -1; newline = rest.indexOf(0x0a)) {
      const line = Buffer.concat([...this.#chunks, rest.subarray(0, newline)]).toString('utf8');
      this.#chunks.length = 0;
      this.#length = 0;
      rest = rest.subarray(newline + 1);
      this.#line(line);
    }
    if (rest.length === 0) return;
    this.#chunks.push(rest);
    this.#length += rest.length;
    if (this.#length > lineLimit) this.#broken('it sent a line without end');
  }

  #line(text: string): void {
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch {
      this.#broken('it sent a line that is not JSON');
      return;
    }
    const parsed = NetdLine.safeParse(json);
    if (!parsed.success) {
      // An event of a kind that this build does not know is no harm.
      if (typeof json === 'object' && json !== null && 'event' in json) return;
      this.#broken('it sent a message that is not understood');
      return;
    }
    const line = parsed.data;
    if ('event' in line) {
      this.onEvent?.(line);
      return;
    }
    if ('error' in line) {
      const error = TapyardError.fromData(line.error);
      if (line.id === null) this.#end(error);
      else this.#settle(line.id, { error });
    } else this.#settle(line.id, { ok: line.ok });
  }

  #settle(id: number, outcome: { ok: unknown } | { error: TapyardError }): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    waiting?.settle(outcome);
  }

  #broken(what: string): void {
    this.#socket.destroy();
    this.#end(gone(what));
  }

  #end(reason: TapyardError): void {
    if (this.#gone) return;
    this.#gone = reason;
    for (const id of this.#waiting.keys()) this.#settle(id, { error: reason });
    this.#settleClosed(reason);
  }
}

function gone(why: string): TapyardError {
  return new TapyardError('NETD_FAILED', `The network helper is gone: ${why}.`, {
    hint: 'Bring the lab up again; the guests run on meanwhile.',
  });
}
