// SPDX-License-Identifier: Apache-2.0
import type { Channel } from './client.ts';
import { TapyardError } from './error.ts';
import type { ByteIntake, ByteSink } from './server.ts';
import { encodeFrame, type ServerMessage } from './wire.ts';

/** Credit that a viewer can pile up; more than any window of ours asks for. */
const creditLimit = 16_777_216;
/** Bytes of input that may wait until the stream is open on the core's side. */
const inputLimit = 1_048_576;

/** The core's side of one byte stream of one client. */
export class StreamFeed implements ByteSink {
  onCredit: (() => void) | undefined;
  readonly #id: number;
  readonly #channel: Channel;
  readonly #send: (message: ServerMessage) => void;
  readonly #forget: () => void;
  #credit: number;
  #open = true;
  #intake: ByteIntake | undefined;
  #received = 0;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;

  /** `forget` is called once when the stream has ended from this side. */
  constructor(
    id: number,
    credit: number,
    channel: Channel,
    send: (message: ServerMessage) => void,
    forget: () => void,
  ) {
    this.#id = id;
    this.#credit = Math.min(credit, creditLimit);
    this.#channel = channel;
    this.#send = send;
    this.#forget = forget;
  }

  get credit(): number {
    return this.#open ? this.#credit : 0;
  }

  data(chunk: Uint8Array, offset: number): void {
    if (!this.#open || chunk.length === 0) return;
    if (chunk.length > this.#credit) {
      // A source that does not count would fill our memory for a viewer that does not read.
      this.end(
        new TapyardError(
          'INTERNAL',
          'Tapyard made a mistake: a stream wrote more than its viewer asked for.',
        ),
      );
      return;
    }
    this.#credit -= chunk.length;
    this.#channel.send(encodeFrame(this.#id, offset, chunk));
  }

  skip(offset: number): void {
    if (this.#open) this.#send({ t: 'skip', id: this.#id, offset });
  }

  end(error?: TapyardError): void {
    if (!this.#open) return;
    this.#send({ t: 'end', id: this.#id, ...(error === undefined ? {} : { error: error.toData() }) });
    this.close();
  }

  /** The source is ready to take input; closes it again when the viewer has gone meanwhile. */
  attach(intake: ByteIntake): void {
    if (!this.#open) {
      intake.close();
      return;
    }
    this.#intake = intake;
    for (const chunk of this.#waiting) intake.write(chunk);
    this.#waiting = [];
  }

  /** The viewer can take `bytes` more. */
  grant(bytes: number): void {
    if (!this.#open || bytes === 0) return;
    this.#credit = Math.min(this.#credit + bytes, creditLimit);
    this.onCredit?.();
  }

  /** Input of the viewer; `offset` is the running count of its bytes. */
  receive(chunk: Uint8Array, offset: number): void {
    if (!this.#open) return;
    if (offset !== this.#received) {
      this.end(new TapyardError('BAD_MESSAGE', 'Input of a console came out of order.'));
      return;
    }
    this.#received += chunk.length;
    if (this.#intake !== undefined) {
      this.#intake.write(chunk);
      return;
    }
    this.#waitingBytes += chunk.length;
    if (this.#waitingBytes > inputLimit) {
      this.end(new TapyardError('TOO_LARGE', 'More input than a console that is being opened can hold.'));
    } else {
      this.#waiting.push(chunk.slice());
    }
  }

  /** Lets go of the source without a word to the viewer. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#waiting = [];
    this.#forget();
    this.#intake?.close();
    // A source that waits for credit sees the end of it.
    this.onCredit = undefined;
  }
}
