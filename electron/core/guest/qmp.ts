// SPDX-License-Identifier: Apache-2.0
import { connect, type Socket } from 'node:net';
import { TapyardError } from '../../contract/error.ts';
import { z } from '../../contract/zod.ts';

/*
 * QEMU's machine protocol (QEMU docs: interop/qmp-spec.rst): one JSON object a line; a greeting, then
 * `qmp_capabilities`, then commands with ids and, at any time, events. QEMU serves one client at a time: a
 * second one is connected and hears nothing, hence the deadline of the greeting.
 */

const Greeting = z.looseObject({
  QMP: z.looseObject({
    version: z.looseObject({
      qemu: z.looseObject({ major: z.number(), minor: z.number(), micro: z.number() }),
    }),
  }),
});
const Reply = z.looseObject({ id: z.number(), return: z.unknown() });
const Refusal = z.looseObject({
  id: z.number().nullish(),
  error: z.looseObject({ class: z.string(), desc: z.string() }),
});
const Event = z.looseObject({
  event: z.string(),
  data: z.record(z.string(), z.unknown()).default({}),
  timestamp: z.looseObject({ seconds: z.number(), microseconds: z.number() }),
});

/** An event of QEMU; `data` as its QAPI schema says. */
export interface QmpEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface QmpHandlers {
  event(event: QmpEvent): void;
  /** Once, when the connection is gone; undefined when QEMU closed it, or `close` was called. */
  closed(error: TapyardError | undefined): void;
}

/** The largest answer that is known (query-qmp-schema) has 200 kB. */
const longestLine = 4 * 1024 * 1024;
/** Events that are kept for who listens later; a QEMU that starts tells some ten. */
const mostEarlyEvents = 1000;

interface Waiting {
  readonly command: string;
  readonly timer: NodeJS.Timeout;
  resolve(value: unknown): void;
  reject(error: TapyardError): void;
}

/** One connection to QEMU's monitor. */
export class Qmp {
  /** QEMU's version, such as `7.2.22`. */
  readonly version: string;
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #gone = false;
  #handlers: QmpHandlers | undefined;
  /** Events that came before there was somebody to hear them. */
  #early: QmpEvent[] = [];

  private constructor(socket: Socket, version: string) {
    this.#socket = socket;
    this.version = version;
  }

  /**
   * Connects, reads the greeting and negotiates. Throws QMP_FAILED: not there (its cause is the system's error),
   * taken by another client, no QMP.
   * Events from the greeting on are kept until `listen`.
   */
  static async connect(path: string, { deadlineMs = 3000 }: { deadlineMs?: number } = {}): Promise<Qmp> {
    const socket = connect({ path });
    const lines = new LineSplitter();
    let qmp: Qmp | undefined;
    let failure: TapyardError | undefined;
    await new Promise<void>((resolve, reject) => {
      const fail = (message: string, hint?: string, cause?: unknown): void => {
        failure ??= new TapyardError('QMP_FAILED', message, {
          subject: path,
          ...(hint === undefined ? {} : { hint }),
          cause,
        });
        clearTimeout(timer);
        socket.destroy();
        if (qmp === undefined) reject(failure);
        else qmp.#end(failure);
      };
      const timer = setTimeout(() => {
        fail(
          `QEMU sent no greeting on ${path} within ${deadlineMs} ms.`,
          'Another program holds this monitor (QEMU serves one client at a time), or QEMU hangs.',
        );
      }, deadlineMs);
      socket.on('error', (error) => {
        fail(`QEMU's monitor ${path} failed: ${error.message}`, undefined, error);
      });
      socket.on('close', () => {
        if (qmp === undefined) fail(`QEMU closed its monitor ${path} before it greeted.`);
        else qmp.#end(failure);
      });
      socket.on('data', (chunk) => {
        for (const line of lines.push(chunk)) {
          if (line.trim() === '') continue;
          const message = parseJson(line);
          if (qmp !== undefined) {
            const wrong = qmp.#take(message);
            if (wrong !== undefined) fail(`QEMU said something that is no QMP on ${path}: ${wrong}`);
          } else {
            const greeting = Greeting.safeParse(message);
            if (!greeting.success) {
              fail(`${path} does not speak QMP.`);
              return;
            }
            const { major, minor, micro } = greeting.data.QMP.version.qemu;
            qmp = new Qmp(socket, `${major}.${minor}.${micro}`);
            clearTimeout(timer);
            resolve();
          }
          if (failure !== undefined) return;
        }
        if (lines.pending > longestLine)
          fail(`QEMU sent a line of more than ${longestLine} bytes on ${path}.`);
      });
    });
    if (qmp === undefined) throw new TapyardError('INTERNAL', 'a QMP connection without a greeting');
    try {
      await qmp.execute('qmp_capabilities', {}, { deadlineMs });
    } catch (thrown) {
      // QEMU serves one client at a time: a connection that nobody holds would keep the next one out.
      qmp.close();
      throw thrown;
    }
    return qmp;
  }

  /** Sets who hears events and the end; what came before is told at once. */
  listen(handlers: QmpHandlers): void {
    this.#handlers = handlers;
    const early = this.#early;
    this.#early = [];
    for (const event of early) handlers.event(event);
    if (this.#gone) handlers.closed(undefined);
  }

  /** Runs one command and answers what it returns. Throws QMP_FAILED (refused, connection gone), DEADLINE. */
  async execute(
    command: string,
    parameters: Readonly<Record<string, unknown>> = {},
    { deadlineMs = 5000 }: { deadlineMs?: number } = {},
  ): Promise<unknown> {
    if (this.#gone) throw connectionGone(command);
    const id = ++this.#lastId;
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        // An answer that comes later finds nobody waiting, and is dropped.
        this.#waiting.delete(id);
        reject(
          new TapyardError('DEADLINE', `QEMU did not answer ${command} within ${deadlineMs} ms.`, {
            hint: 'Is the computer very busy? If QEMU hangs, force the guest off.',
          }),
        );
      }, deadlineMs);
      this.#waiting.set(id, { command, timer, resolve, reject });
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: parameters, id })}\n`);
    });
  }

  /** Closes the connection; QEMU runs on and takes the next client. */
  close(): void {
    this.#socket.destroy();
    this.#end(undefined);
  }

  /** Lets the process end though this connection is open. */
  unref(): void {
    this.#socket.unref();
  }

  /** Takes one message; answers what is wrong with it. */
  #take(message: unknown): string | undefined {
    const event = Event.safeParse(message);
    if (event.success) {
      const happened = { event: event.data.event, data: event.data.data };
      if (this.#handlers !== undefined) this.#handlers.event(happened);
      else if (this.#early.push(happened) > mostEarlyEvents) return 'events without end';
      return undefined;
    }
    const refusal = Refusal.safeParse(message);
    if (refusal.success) {
      const { id, error } = refusal.data;
      const waiting = id === null || id === undefined ? undefined : this.#settle(id);
      waiting?.reject(
        new TapyardError('QMP_FAILED', `QEMU refused ${waiting.command}: ${error.desc}`, {
          subject: waiting.command,
        }),
      );
      return undefined;
    }
    const reply = Reply.safeParse(message);
    if (!reply.success) return JSON.stringify(message)?.slice(0, 200) ?? 'not JSON';
    this.#settle(reply.data.id)?.resolve(reply.data.return);
    return undefined;
  }

  #settle(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return undefined;
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    return waiting;
  }

  #end(error: TapyardError | undefined): void {
    if (this.#gone) return;
    this.#gone = true;
    for (const [id, waiting] of this.#waiting) {
      this.#settle(id);
      waiting.reject(error ?? connectionGone(waiting.command));
    }
    this.#handlers?.closed(error);
  }
}

function connectionGone(command: string): TapyardError {
  return new TapyardError('QMP_FAILED', `QEMU's monitor was closed before it answered ${command}.`, {
    subject: command,
  });
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** Cuts a byte stream into lines; copes with a multi-byte character that is cut in two. */
class LineSplitter {
  #parts: Buffer[] = [];
  pending = 0;

  *push(chunk: Buffer): Generator<string> {
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      this.#parts.push(chunk.subarray(start, end));
      const line = Buffer.concat(this.#parts).toString('utf8');
      this.#parts = [];
      this.pending = 0;
      start = end + 1;
      yield line;
    }
    if (start < chunk.length) {
      this.#parts.push(chunk.subarray(start));
      this.pending += chunk.length - start;
    }
  }
}
