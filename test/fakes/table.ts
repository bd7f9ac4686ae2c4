// SPDX-License-Identifier: Apache-2.0
import type { GaugeSource, TableSource } from '../../electron/contract/server.ts';
import type { Subscription } from '../../electron/contract/client.ts';

/** A table that a test changes. */
export class FakeTable<Row extends { readonly id: string }> implements TableSource<Row> {
  readonly epoch = 'fake';
  rev = 0;
  readonly #rows: Map<string, Row>;
  readonly #listeners = new Set<(put: readonly Row[], del: readonly string[]) => void>();

  constructor(rows: readonly Row[] = []) {
    this.#rows = new Map(rows.map((row) => [row.id, row]));
  }

  rows(): readonly Row[] {
    return [...this.#rows.values()];
  }

  get(id: string): Row | undefined {
    return this.#rows.get(id);
  }

  /** Puts and deletes in one change. */
  change(put: readonly Row[], del: readonly string[] = []): void {
    if (put.length === 0 && del.length === 0) return;
    for (const id of del) this.#rows.delete(id);
    for (const row of put) this.#rows.set(row.id, row);
    this.rev++;
    for (const listener of this.#listeners) listener(put, del);
  }

  subscribe(listener: (put: readonly Row[], del: readonly string[]) => void): Subscription {
    this.#listeners.add(listener);
    return { close: () => void this.#listeners.delete(listener) };
  }
}

/** A gauge that asks `sample` every `everyMs` while somebody listens, and counts how often it did. */
export class FakeGauge<Value> implements GaugeSource<Value> {
  samples = 0;
  readonly #sample: (tick: number) => ReadonlyMap<string, Value>;
  readonly #everyMs: number;
  readonly #listeners = new Set<(values: ReadonlyMap<string, Value>) => void>();
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(everyMs: number, sample: (tick: number) => ReadonlyMap<string, Value>) {
    this.#everyMs = everyMs;
    this.#sample = sample;
  }

  subscribe(listener: (values: ReadonlyMap<string, Value>) => void): Subscription {
    this.#listeners.add(listener);
    listener(this.#sample(this.samples));
    this.#timer ??= setInterval(() => {
      const values = this.#sample(this.samples++);
      for (const each of this.#listeners) each(values);
    }, this.#everyMs);
    return {
      close: () => {
        this.#listeners.delete(listener);
        if (this.#listeners.size > 0) return;
        clearInterval(this.#timer);
        this.#timer = undefined;
      },
    };
  }
}
