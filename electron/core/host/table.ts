// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Subscription } from '../../contract/client.ts';
import type { TableSource } from '../../contract/server.ts';

/** A table of the contract. Changes made in one tick are one change for those who follow it. */
export class Table<Row extends { readonly id: string }> implements TableSource<Row> {
  readonly epoch = randomBytes(8).toString('hex');
  readonly #rows = new Map<string, Row>();
  readonly #listeners = new Set<(put: readonly Row[], del: readonly string[]) => void>();
  #pending = new Map<string, Row | undefined>();
  #scheduled = false;
  #rev = 0;

  get rev(): number {
    this.#flush();
    return this.#rev;
  }

  rows(): readonly Row[] {
    this.#flush();
    return [...this.#rows.values()];
  }

  /** The row as last put, told to followers or not. */
  get(id: string): Row | undefined {
    return this.#pending.has(id) ? this.#pending.get(id) : this.#rows.get(id);
  }

  put(row: Row): void {
    this.#change(row.id, row);
  }

  delete(id: string): void {
    this.#change(id, undefined);
  }

  /** Makes the rows for which `mine` is true exactly `rows`. */
  replace(rows: readonly Row[], mine: (row: Row) => boolean): void {
    const keep = new Set(rows.map((row) => row.id));
    for (const id of new Set([...this.#rows.keys(), ...this.#pending.keys()])) {
      const row = this.get(id);
      if (row && !keep.has(id) && mine(row)) this.delete(id);
    }
    for (const row of rows) this.put(row);
  }

  subscribe(listener: (put: readonly Row[], del: readonly string[]) => void): Subscription {
    // What is pending belongs to the state that the new follower reads, not to its first change.
    this.#flush();
    this.#listeners.add(listener);
    return { close: () => void this.#listeners.delete(listener) };
  }

  #change(id: string, row: Row | undefined): void {
    if (isDeepStrictEqual(this.get(id), row)) return;
    this.#pending.set(id, row);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#pending.size === 0) return;
    const put: Row[] = [];
    const del: string[] = [];
    for (const [id, row] of this.#pending) {
      if (row) {
        if (isDeepStrictEqual(this.#rows.get(id), row)) continue;
        this.#rows.set(id, row);
        put.push(row);
      } else if (this.#rows.delete(id)) del.push(id);
    }
    this.#pending = new Map();
    if (put.length === 0 && del.length === 0) return;
    this.#rev++;
    for (const listener of this.#listeners) listener(put, del);
  }
}
