// SPDX-License-Identifier: Apache-2.0
import type { Channel, Subscription } from './client.ts';
import { after } from './platform.ts';
import type { GaugeSource, TableSource } from './server.ts';
import type { ServerMessage } from './wire.ts';

/** Bytes that may wait in a channel before tables and gauges hold back. */
export const backlogLimit = 1_048_576;
/** How often a channel that was too full is looked at again, ms. */
const drainCheck = 100;
/** A gauge is sent at most this often: 5 times a second (DESIGN section 6). */
const gaugeInterval = 200;
/** Changes that a slow client may owe before a new snapshot is cheaper, and bounds what it can make us keep. */
const changeLimit = 4096;

type Send = (message: ServerMessage) => void;

/** A row's id; every row of the contract has one. */
function rowId(row: unknown): string {
  if (typeof row === 'object' && row !== null && 'id' in row && typeof row.id === 'string') return row.id;
  throw new Error('A row of a table has no id.');
}

/** One client's subscription of one table: coalesces, holds back when the client is slow, resnapshots. */
export class TableFeed {
  readonly #id: number;
  readonly #source: TableSource<unknown>;
  readonly #channel: Channel;
  readonly #send: Send;
  readonly #subscription: Subscription;
  /** What the client has not heard of: the row, or null where it was deleted. */
  readonly #pending = new Map<string, unknown>();
  #needsFull = true;
  #epoch = '';
  #rev = 0;
  #cancelTimer: (() => void) | undefined;

  constructor(id: number, source: TableSource<unknown>, channel: Channel, send: Send) {
    this.#id = id;
    this.#source = source;
    this.#channel = channel;
    this.#send = send;
    this.#subscription = source.subscribe((put, del) => this.#note(put, del));
    this.flush();
  }

  /** Sends a new snapshot. */
  resnapshot(): void {
    this.#needsFull = true;
    this.flush();
  }

  /** Sends what is pending now, unless the client is behind. */
  flush(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    if (!this.#needsFull && this.#pending.size === 0) return;
    if (this.#channel.buffered > backlogLimit) {
      this.#cancelTimer = after(drainCheck, () => this.flush());
      return;
    }
    const { epoch, rev } = this.#source;
    if (this.#needsFull || epoch !== this.#epoch) {
      this.#send({ t: 'full', id: this.#id, epoch, rev, rows: [...this.#source.rows()] });
    } else {
      const put: unknown[] = [];
      const del: string[] = [];
      for (const [id, row] of this.#pending) {
        if (row === null) del.push(id);
        else put.push(row);
      }
      this.#send({ t: 'change', id: this.#id, epoch, from: this.#rev, rev, put, del });
    }
    this.#needsFull = false;
    this.#pending.clear();
    this.#epoch = epoch;
    this.#rev = rev;
  }

  close(): void {
    this.#cancelTimer?.();
    this.#subscription.close();
  }

  #note(put: readonly unknown[], del: readonly string[]): void {
    if (!this.#needsFull) {
      for (const id of del) this.#pending.set(id, null);
      for (const row of put) this.#pending.set(rowId(row), row);
      if (this.#pending.size > changeLimit) {
        this.#needsFull = true;
        this.#pending.clear();
      }
    }
    this.#cancelTimer ??= after(0, () => this.flush());
  }
}

/** One client's subscription of one gauge: the latest values, at most 5 times a second, only while it looks. */
export class GaugeFeed {
  readonly #id: number;
  readonly #source: GaugeSource<unknown>;
  readonly #channel: Channel;
  readonly #send: Send;
  readonly #latest = new Map<string, unknown>();
  #subscription: Subscription | undefined;
  #cancelTimer: (() => void) | undefined;

  constructor(id: number, source: GaugeSource<unknown>, channel: Channel, send: Send, visible: boolean) {
    this.#id = id;
    this.#source = source;
    this.#channel = channel;
    this.#send = send;
    this.setVisible(visible);
  }

  /** A gauge that nobody looks at lets go of its source, so that nothing is sampled for it. */
  setVisible(visible: boolean): void {
    if (visible) {
      this.#subscription ??= this.#source.subscribe((values) => {
        for (const [id, value] of values) this.#latest.set(id, value);
        if (this.#cancelTimer === undefined) this.#flush();
      });
    } else {
      this.close();
    }
  }

  close(): void {
    this.#subscription?.close();
    this.#subscription = undefined;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#latest.clear();
  }

  #flush(): void {
    this.#cancelTimer = undefined;
    if (this.#latest.size === 0) return;
    // While this timer runs, values only gather.
    this.#cancelTimer = after(gaugeInterval, () => this.#flush());
    if (this.#channel.buffered > backlogLimit) return;
    this.#send({ t: 'gauge', id: this.#id, values: [...this.#latest] });
    this.#latest.clear();
  }
}
