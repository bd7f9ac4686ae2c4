// SPDX-License-Identifier: Apache-2.0
import type { Subscription } from '../../contract/client.ts';
import type { GaugeSource } from '../../contract/server.ts';

/** At most five samples a second. */
export const gaugeInterval = 200;

/**
 * A gauge that asks `sample` for its values every {@link gaugeInterval} ms, and only between the first
 * subscription and the last close. A sample that takes longer than the interval delays the next one.
 * Listeners get what differs from the time before; a new listener gets everything.
 */
export class Gauge<Value> implements GaugeSource<Value> {
  readonly #sample: () => Promise<ReadonlyMap<string, Value>> | ReadonlyMap<string, Value>;
  readonly #same: (one: Value, other: Value) => boolean;
  readonly #listeners = new Set<(values: ReadonlyMap<string, Value>) => void>();
  #last: ReadonlyMap<string, Value> = new Map();
  #timer: NodeJS.Timeout | undefined;

  constructor(
    sample: () => Promise<ReadonlyMap<string, Value>> | ReadonlyMap<string, Value>,
    same: (one: Value, other: Value) => boolean = Object.is,
  ) {
    this.#sample = sample;
    this.#same = same;
  }

  subscribe(listener: (values: ReadonlyMap<string, Value>) => void): Subscription {
    this.#listeners.add(listener);
    if (this.#timer !== undefined) {
      if (this.#last.size > 0) listener(this.#last);
    } else {
      this.#last = new Map();
      this.#timer = setTimeout(() => void this.#tick(), 0);
    }
    return {
      close: () => {
        this.#listeners.delete(listener);
        if (this.#listeners.size > 0) return;
        clearTimeout(this.#timer);
        this.#timer = undefined;
      },
    };
  }

  async #tick(): Promise<void> {
    const timer = this.#timer;
    const begin = Date.now();
    let values = this.#last;
    try {
      values = await this.#sample();
    } catch {
      // What is measured is gone for now; the tables say why, and the next sample tries again.
    }
    if (this.#timer !== timer || timer === undefined) return; // closed, or closed and begun anew, meanwhile
    const fresh = new Map<string, Value>();
    for (const [id, value] of values) {
      const old = this.#last.get(id);
      if (old === undefined || !this.#same(old, value)) fresh.set(id, value);
    }
    this.#last = values;
    if (fresh.size > 0) for (const listener of this.#listeners) listener(fresh);
    this.#timer = setTimeout(() => void this.#tick(), Math.max(0, gaugeInterval - (Date.now() - begin)));
    this.#timer.unref();
  }
}
