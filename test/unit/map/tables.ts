// SPDX-License-Identifier: Apache-2.0
import type { MapTables } from '../../../renderer/features/map/topology.ts';
import { deriveTopology } from '../../../renderer/features/map/topology.ts';
import type { Topology } from '../../../renderer/features/map/map-model.ts';
import type { LabRows } from '../../fakes/rows.ts';

const byId = <R extends { readonly id: string }>(rows: readonly R[]): ReadonlyMap<string, R> =>
  new Map(rows.map((row) => [row.id, row]));

/** A fake's rows as the store holds them. */
export const tablesOf = (rows: LabRows): MapTables => ({
  host: byId([rows.host]),
  labs: byId(rows.labs),
  networks: byId(rows.networks),
  links: byId(rows.links),
  guests: byId(rows.guests),
});

/** The topology of the first lab of some rows. */
export function topologyOf(rows: LabRows): Topology {
  const topology = deriveTopology(tablesOf(rows), rows.labs[0]?.id ?? '');
  if (!topology) throw new Error('the rows have no lab');
  return topology;
}
