// SPDX-License-Identifier: Apache-2.0
import type { ByteStream, BytesHandlers, Client } from '../../../electron/contract/client.ts';
import type { TapyardError } from '../../../electron/contract/error.ts';

/** The last bytes of the record that a terminal is rebuilt from. */
const tail = 65_536;
/** Bytes that the terminal has not parsed yet at which reading stops, and at which it goes on. */
const highWater = 1_048_576;
const lowWater = 131_072;
/** A stream that broke is opened again after this, ms, then later and later. */
const retryMs = 500;
const longestRetryMs = 5000;
/** Keys typed while there is no stream; more than a person types in a reconnect is dropped. */
const longestTyped = 4096;

/** The part of a client that is used. */
export interface SerialClient {
  readonly consoles: Pick<Client['consoles'], 'serial'>;
}

/** Where the bytes go. */
export interface SerialScreen {
  /** Takes bytes; `parsed` is called when they are on the screen. */
  write(bytes: Uint8Array, parsed: () => void): void;
  /** Some bytes are gone for ever. */
  gap(bytes: number): void;
}

/** How a serial console stands. */
export type SerialStatus =
  { readonly open: true } | { readonly open: false; readonly error: TapyardError | undefined };

/**
 * Feeds a terminal from a guest's serial record and types into the guest. Offsets are absolute, so after a lost
 * connection it goes on with the next byte: nothing is missing and nothing comes twice. A guest that says more
 * than the terminal can parse is not buffered without end: reading stops until the terminal has caught up, and
 * goes on from the record.
 */
export class SerialFeed {
  readonly #guest: { readonly lab: string; readonly guest: string };
  readonly #screen: SerialScreen;
  readonly #onStatus: (status: SerialStatus) => void;
  #client: SerialClient | null = null;
  #stream: ByteStream | null = null;
  /** Counts streams, so that what an old one still says is not taken for the new one's. */
  #generation = 0;
  /** Offset of the next byte; -1 before the first. */
  #next = -1;
  #unparsed = 0;
  #held = false;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #retryMs = retryMs;
  #typed: Uint8Array[] = [];
  #typedBytes = 0;
  #closed = false;

  constructor(
    guest: { readonly lab: string; readonly guest: string },
    screen: SerialScreen,
    onStatus: (status: SerialStatus) => void,
  ) {
    this.#guest = guest;
    this.#screen = screen;
    this.#onStatus = onStatus;
  }

  /** Offset of the next byte that is wanted, -1 before the first. */
  get next(): number {
    return this.#next;
  }

  /** Goes on with this client; null while there is none. */
  setClient(client: SerialClient | null): void {
    if (client === this.#client || this.#closed) return;
    this.#client = client;
    this.#drop();
    this.#retryMs = retryMs;
    if (client) this.#open();
  }

  /** Types into the guest. */
  type(bytes: Uint8Array): void {
    if (this.#stream) {
      this.#stream.write(bytes);
      return;
    }
    if (this.#typedBytes + bytes.length > longestTyped) return;
    this.#typed.push(bytes);
    this.#typedBytes += bytes.length;
  }

  close(): void {
    this.#closed = true;
    this.#drop();
  }

  #drop(): void {
    clearTimeout(this.#retry);
    this.#generation++;
    this.#stream?.close();
    this.#stream = null;
  }

  #open(): void {
    const client = this.#client;
    if (!client || this.#closed || this.#held) return;
    const generation = ++this.#generation;
    const mine = (): boolean => generation === this.#generation;
    const handlers: BytesHandlers = {
      data: (chunk, offset) => {
        if (mine()) this.#take(chunk, offset);
      },
      skip: (offset) => {
        if (!mine()) return;
        if (this.#next >= 0 && offset > this.#next) this.#screen.gap(offset - this.#next);
        this.#next = offset;
      },
      end: (error) => {
        if (!mine()) return;
        this.#stream = null;
        this.#onStatus({ open: false, error });
        this.#retry = setTimeout(() => this.#open(), this.#retryMs);
        this.#retryMs = Math.min(longestRetryMs, this.#retryMs * 2);
      },
    };
    const stream = client.consoles.serial({ ...this.#guest, from: this.#next, tail }, handlers);
    // It may have ended, or held itself, before it was even returned.
    if (!mine()) {
      stream.close();
      return;
    }
    this.#stream = stream;
    this.#onStatus({ open: true });
    for (const bytes of this.#typed) stream.write(bytes);
    this.#typed = [];
    this.#typedBytes = 0;
  }

  #take(chunk: Uint8Array, offset: number): void {
    this.#retryMs = retryMs;
    // A record that was begun anew has smaller offsets than we have seen; a stream never goes back by itself.
    const twice = this.#next < 0 ? 0 : Math.max(0, Math.min(chunk.length, this.#next - offset));
    if (this.#next >= 0 && offset > this.#next) this.#screen.gap(offset - this.#next);
    this.#next = Math.max(this.#next, offset + chunk.length);
    const fresh = chunk.subarray(twice);
    if (fresh.length === 0) return;
    this.#unparsed += fresh.length;
    this.#screen.write(fresh, () => {
      this.#unparsed -= fresh.length;
      if (this.#held && this.#unparsed <= lowWater) {
        this.#held = false;
        this.#open();
      }
    });
    if (this.#unparsed > highWater && !this.#held) {
      this.#held = true;
      this.#drop();
    }
  }
}
