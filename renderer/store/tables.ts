// SPDX-License-Identifier: Apache-2.0
import type { z } from '../../electron/contract/zod.ts';
import { create } from 'zustand';
import type { Client, Subscription, TableChange } from '../../electron/contract/client.ts';
import type { contract } from '../../electron/contract/contract.ts';

type TableLeaves = (typeof contract)['tables'];

/** Name of a table that the window always follows: all but the log, which is followed while it is looked at. */
export type TableName = Exclude<keyof TableLeaves, 'acts'>;

/** The row of a table. */
export type Row<Name extends TableName> = z.output<TableLeaves[Name]['row']>;

/** Those tables, by id. The maps are replaced, never changed: a reference tells a change. */
export type Tables = { readonly [Name in TableName]: ReadonlyMap<string, Row<Name>> };

const names = [
  'host',
  'labs',
  'networks',
  'links',
  'guests',
  'forwards',
  'steps',
  'jobs',
] as const satisfies readonly TableName[];

const empty: Tables = {
  host: new Map(),
  labs: new Map(),
  networks: new Map(),
  links: new Map(),
  guests: new Map(),
  forwards: new Map(),
  steps: new Map(),
  jobs: new Map(),
};

/** What the core says there is. Only {@link followTables} writes it; read it with a selector. */
export const useTables = create<Tables>(() => empty);

/** A table after a change. The given map is left alone. */
export function applyChange<R extends { readonly id: string }>(
  rows: ReadonlyMap<string, R>,
  change: TableChange<R>,
): ReadonlyMap<string, R> {
  if ('full' in change) return new Map(change.full.map((row) => [row.id, row]));
  const next = new Map(rows);
  for (const id of change.del) next.delete(id);
  for (const row of change.put) next.set(row.id, row);
  return next;
}

/** Runs `flush` in the next frame, or soon where no frame comes because the window is hidden. */
function nextFrame(flush: () => void): void {
  if (document.visibilityState === 'visible') requestAnimationFrame(flush);
  else setTimeout(flush, 100);
}

/**
 * Follows all tables of a client into {@link useTables} until closed. Changes are collected and put in by one
 * setState a frame: one for each of 1300 entities costs half a second, one for all about a millisecond.
 * `onFirst` is called once, when every table has answered.
 */
export function followTables(client: Client, onFirst: () => void): Subscription {
  let pending: ((tables: Tables) => Partial<Tables>)[] = [];
  let closed = false;
  const waiting = new Set<TableName>(names);

  const flush = (): void => {
    if (closed) return;
    const changes = pending;
    pending = [];
    useTables.setState((tables) => {
      let next = tables;
      for (const change of changes) next = { ...next, ...change(next) };
      return next;
    });
    if (waiting.size === 0) {
      const first = onFirst;
      onFirst = () => {};
      first();
    }
  };
  const queue = (name: TableName, change: (tables: Tables) => Partial<Tables>): void => {
    waiting.delete(name);
    pending.push(change);
    if (pending.length === 1) nextFrame(flush);
  };
  const follow = <Name extends TableName>(name: Name, change: TableChange<Row<Name>>): void => {
    queue(name, (tables) => ({ [name]: applyChange<Row<Name>>(tables[name], change) }));
  };

  const subscriptions = [
    client.tables.host((change) => follow('host', change)),
    client.tables.labs((change) => follow('labs', change)),
    client.tables.networks((change) => follow('networks', change)),
    client.tables.links((change) => follow('links', change)),
    client.tables.guests((change) => follow('guests', change)),
    client.tables.forwards((change) => follow('forwards', change)),
    client.tables.steps((change) => follow('steps', change)),
    client.tables.jobs((change) => follow('jobs', change)),
  ];
  return {
    close() {
      closed = true;
      for (const subscription of subscriptions) subscription.close();
    },
  };
}
