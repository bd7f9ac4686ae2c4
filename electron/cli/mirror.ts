// SPDX-License-Identifier: Apache-2.0
import type { Connection, Subscription, TableChange } from '../contract/client.ts';
import { TapyardError } from '../contract/error.ts';

type Table<Row> = (listener: (change: TableChange<Row>) => void) => Subscription;

const snapshotDeadline = 10_000;

/** A table of the core, kept here as long as it is needed. */
export class Mirror<Row extends { readonly id: string }> implements Subscription {
  readonly rows = new Map<string, Row>();
  readonly #connection: Connection;
  readonly #subscription: Subscription;
  readonly #listeners = new Set<() => void>();
  #complete = false;

  private constructor(connection: Connection, table: Table<Row>) {
    this.#connection = connection;
    this.#subscription = table((change) => this.#apply(change));
  }

  /**
   * Follows `table`; resolves with its first snapshot there.
   * @throws TapyardError DEADLINE, CORE_UNREACHABLE
   */
  static async open<Row extends { readonly id: string }>(
    connection: Connection,
    table: Table<Row>,
  ): Promise<Mirror<Row>> {
    const mirror = new Mirror(connection, table);
    const complete = await mirror.until(() => (mirror.#complete ? true : undefined), snapshotDeadline);
    if (complete === undefined) {
      throw new TapyardError('DEADLINE', 'Tapyard’s core did not answer within 10 s.', {
        hint: 'It may be very busy; try again.',
      });
    }
    return mirror;
  }

  /** The rows, in the order of their ids. */
  list(): Row[] {
    return [...this.rows.values()].sort((left, right) => (left.id < right.id ? -1 : 1));
  }

  /** Calls `listener` after each change. */
  onChange(listener: () => void): Subscription {
    this.#listeners.add(listener);
    return { close: () => this.#listeners.delete(listener) };
  }

  /**
   * What `find` finds, now or after a change; undefined when it finds nothing within `deadlineMs`.
   * @throws TapyardError CORE_UNREACHABLE when the core goes meanwhile
   */
  async until<Found>(
    find: (rows: Row[]) => Found | undefined,
    deadlineMs: number,
  ): Promise<Found | undefined> {
    const now = find(this.list());
    if (now !== undefined) return now;
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer);
        subscription.close();
      };
      const timer = setTimeout(() => {
        end();
        resolve(undefined);
      }, deadlineMs);
      const subscription = this.onChange(() => {
        const found = find(this.list());
        if (found === undefined) return;
        end();
        resolve(found);
      });
      void this.#connection.closed.then((error) => {
        end();
        reject(error);
      });
    });
  }

  close(): void {
    this.#subscription.close();
    this.#listeners.clear();
  }

  #apply(change: TableChange<Row>): void {
    if ('full' in change) {
      this.rows.clear();
      for (const row of change.full) this.rows.set(row.id, row);
    } else {
      for (const id of change.del) this.rows.delete(id);
      for (const row of change.put) this.rows.set(row.id, row);
    }
    this.#complete = true;
    for (const listener of this.#listeners) listener();
  }
}

/** The rows of `table` now. */
export async function rowsOf<Row extends { readonly id: string }>(
  connection: Connection,
  table: Table<Row>,
): Promise<Row[]> {
  const mirror = await Mirror.open(connection, table);
  mirror.close();
  return mirror.list();
}
