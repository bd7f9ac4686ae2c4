// SPDX-License-Identifier: Apache-2.0
import type { ActRow } from '../../contract/act.ts';
import type { ForwardRow, GuestRow, LabRow, LinkRow, NetworkRow, StepRow } from '../../contract/rows.ts';
import type { Table } from '../host/table.ts';

/** The tables that a lab puts its rows into. */
export interface LabTables {
  readonly labs: Table<LabRow>;
  readonly networks: Table<NetworkRow>;
  readonly links: Table<LinkRow>;
  readonly guests: Table<GuestRow>;
  readonly forwards: Table<ForwardRow>;
  readonly steps: Table<StepRow>;
  readonly acts: Table<ActRow>;
}

/** All that a lab shows of itself, but what netd did, which is only added to. */
export interface LabRows {
  readonly lab: LabRow;
  readonly networks: readonly NetworkRow[];
  readonly links: readonly LinkRow[];
  readonly guests: readonly GuestRow[];
  readonly forwards: readonly ForwardRow[];
  readonly steps: readonly StepRow[];
}

/** Puts a lab's rows in place of those that it had. */
export function putRows(tables: LabTables, rows: LabRows): void {
  const mine = (row: { readonly lab: string }): boolean => row.lab === rows.lab.id;
  tables.labs.put(rows.lab);
  tables.guests.replace(rows.guests, mine);
  tables.forwards.replace(rows.forwards, mine);
  tables.networks.replace(rows.networks, mine);
  tables.links.replace(rows.links, mine);
  tables.steps.replace(rows.steps, mine);
}

/** Takes a lab's rows away. */
export function dropRows(tables: LabTables, lab: string): void {
  const mine = (row: { readonly lab: string }): boolean => row.lab === lab;
  for (const table of [tables.guests, tables.forwards, tables.networks, tables.links, tables.steps])
    table.replace([], mine);
  tables.labs.delete(lab);
}
