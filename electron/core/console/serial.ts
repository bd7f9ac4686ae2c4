// SPDX-License-Identifier: Apache-2.0
import type { Socket } from 'node:net';
import type { Subscription } from '../../contract/client.ts';
import { TapyardError } from '../../contract/error.ts';
import type { ByteIntake, ByteSink } from '../../contract/server.ts';
import { openForTyping } from './serial-input.ts';
import { keptFrom, SerialRecord } from './serial-record.ts';
import { lastLine, tailBytes } from './tail.ts';

/** Bytes that a viewer gets at a time. */
const chunkBytes = 65_536;
/** A guest that floods its console gives a viewer this pause between two chunks, so that they are not of one byte each. */
const pauseMs = 8;
/** What a guest that reads no input may leave waiting before more is thrown away, as a full UART does. */
const longestInput = 1024 * 1024;
/** How often a running guest's record is looked at for its cap: one stat(2), and a flood is some MiB in that time. */
const capEveryMs = 2000;

/**
 * One guest's serial console: shown from the record, which QEMU writes, so that any number of viewers come and go
 * without gaps or doubles and none holds up the guest; typed into through QEMU's input. It stays while the guest is
 * off, and goes on when it starts again.
 */
export class SerialConsole {
  readonly record: SerialRecord;
  #input: Socket | undefined;
  #capping: NodeJS.Timeout | undefined;
  readonly #viewers = new Set<Viewer>();
  #tail: { readonly size: number; readonly line: string } | undefined;
  #closed = false;

  constructor(recordPath: string) {
    this.record = new SerialRecord(recordPath);
  }

  /** Opens the way for typing into a running guest, by the path of its input, and caps its record. Throws CONSOLE_CLOSED. */
  attach(input: string): void {
    this.detach();
    const socket = openForTyping(input);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      if (this.#input === socket) this.#input = undefined;
    });
    this.#input = socket;
    void this.record.cap();
    this.#capping = setInterval(() => void this.record.cap(), capEveryMs).unref();
  }

  /** Lets go of the guest; its output goes on into the record. */
  detach(): void {
    this.#input?.destroy();
    this.#input = undefined;
    clearInterval(this.#capping);
  }

  /**
   * Shows the console to a viewer from offset `from` on, or from the last `tail` bytes where it is -1. Bytes that are
   * given up are told by a skip. Throws CONSOLE_CLOSED when the guest was removed.
   */
  async open({ from, tail }: { from: number; tail: number }, sink: ByteSink): Promise<ByteIntake> {
    if (this.#closed)
      throw new TapyardError('CONSOLE_CLOSED', 'This console is closed: its guest was removed.');
    await this.record.ensure();
    const size = await this.record.size();
    // A viewer may come back with an offset of a record that was deleted since; then it begins at the end.
    const start = from === -1 ? Math.max(keptFrom(size), size - tail) : Math.min(from, size);
    const viewer = new Viewer(this.record, sink, start);
    this.#viewers.add(viewer);
    return {
      write: (chunk) => {
        this.write(chunk);
      },
      close: () => {
        this.#viewers.delete(viewer);
        viewer.close();
      },
    };
  }

  /** Types into the guest. Without a running guest, or when it has left 1 MiB unread, the bytes are gone. */
  write(chunk: Uint8Array): void {
    if (this.#input === undefined || this.#input.writableLength > longestInput) return;
    this.#input.write(chunk);
  }

  /** The last line of the console as text; read again only when there is more than at the last call. */
  async lastLine(): Promise<string> {
    const size = await this.record.size();
    if (size !== this.#tail?.size) {
      const bytes = await this.record.read(
        Math.max(keptFrom(size), size - tailBytes),
        Math.min(size, tailBytes),
      );
      this.#tail = { size, line: bytes === undefined ? '' : lastLine(bytes) };
    }
    return this.#tail.line;
  }

  /** Ends all viewers and lets go of everything. */
  async close(): Promise<void> {
    this.#closed = true;
    this.detach();
    for (const viewer of this.#viewers) viewer.end();
    this.#viewers.clear();
    await this.record.close();
  }
}

/** Runs `work` at once when woken, then at most every `pauseMs`, and never twice at a time. */
class Throttle {
  readonly #work: () => Promise<void>;
  #busy = false;
  #again = false;
  #stopped = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(work: () => Promise<void>) {
    this.#work = work;
  }

  readonly wake = (): void => {
    if (this.#stopped) return;
    if (this.#busy) {
      this.#again = true;
      return;
    }
    this.#busy = true;
    this.#again = false;
    void this.#work()
      .catch(() => undefined)
      .finally(() => {
        this.#timer = setTimeout(() => {
          this.#busy = false;
          if (this.#again) this.wake();
        }, pauseMs).unref();
      });
  };

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }
}

/** One reader of the record: as fast as its credit allows, from where it is. */
class Viewer {
  readonly #record: SerialRecord;
  readonly #sink: ByteSink;
  readonly #throttle: Throttle;
  readonly #watching: Subscription;
  #offset: number;
  #closed = false;

  constructor(record: SerialRecord, sink: ByteSink, offset: number) {
    this.#record = record;
    this.#sink = sink;
    this.#offset = offset;
    this.#throttle = new Throttle(() => this.#pump());
    this.#watching = record.watch(this.#throttle.wake);
    sink.onCredit = this.#throttle.wake;
    this.#throttle.wake();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#throttle.stop();
    this.#watching.close();
    this.#sink.onCredit = undefined;
  }

  end(): void {
    if (this.#closed) return;
    this.close();
    this.#sink.end();
  }

  async #pump(): Promise<void> {
    while (!this.#closed && this.#sink.credit > 0) {
      const size = await this.#record.size();
      if (this.#closed) return;
      const kept = keptFrom(size);
      if (this.#offset < kept) {
        this.#offset = kept;
        this.#sink.skip(kept);
      }
      if (this.#offset >= size) return;
      const length = Math.min(this.#sink.credit, chunkBytes, size - this.#offset);
      const chunk = await this.#record.read(this.#offset, length);
      if (this.#closed) return;
      if (chunk === undefined) continue;
      if (chunk.length === 0) return;
      this.#sink.data(chunk, this.#offset);
      this.#offset += chunk.length;
      // What came since then comes with the next wake, together with what comes until that.
      if (this.#offset >= size) return;
    }
  }
}
