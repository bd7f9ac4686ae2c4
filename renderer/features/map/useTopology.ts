// SPDX-License-Identifier: Apache-2.0
import { useMemo, useState } from 'react';
import { useTables } from '../../store/tables.ts';
import { layoutTopology, type Layout, type Shape } from './layout.ts';
import { shareByKey } from './share.ts';
import { deriveTopology, type MapTables } from './topology.ts';
import type { Topology } from './map-model.ts';

/** Parts of the topology that are as before keep their identity, so that only what changed is drawn again. */
function shareTopology(before: Topology | null, after: Topology | null): Topology | null {
  if (!before || !after || before.lab !== after.lab) return after;
  return {
    ...after,
    uplink: shareByKey([before.uplink], [after.uplink])[0] ?? after.uplink,
    nats: shareByKey(before.nats, after.nats),
    bridges: shareByKey(before.bridges, after.bridges),
    guests: shareByKey(before.guests, after.guests),
    cables: shareByKey(before.cables, after.cables),
  };
}

/** Derives again and again, and shares with the time before. */
function makeDeriver(): (tables: MapTables, lab: string) => Topology | null {
  let before: Topology | null = null;
  return (tables, lab) => (before = shareTopology(before, deriveTopology(tables, lab)));
}

/** What the map draws of a lab, from the tables; null while there is no such lab. */
export function useTopology(lab: string): Topology | null {
  const host = useTables((tables) => tables.host);
  const labs = useTables((tables) => tables.labs);
  const networks = useTables((tables) => tables.networks);
  const links = useTables((tables) => tables.links);
  const guests = useTables((tables) => tables.guests);
  const [derive] = useState(makeDeriver);
  return useMemo(
    () => derive({ host, labs, networks, links, guests }, lab),
    [derive, host, labs, networks, links, guests, lab],
  );
}

/** What the tidy layout depends on: who is there and where they belong, not how they are. */
function structure(topology: Topology): string {
  return [
    topology.lab,
    ...topology.bridges.map((bridge) =>
      [bridge.key, ...bridge.ports.map((port) => port.key + port.name)].join(','),
    ),
    ...topology.guests.map((guest) => guest.key + (guest.home ?? '')),
  ].join('\n');
}

/** Lays out when the structure has changed, in the shape of the time before unless tidied since. */
function makeLayouter(): (topology: Topology, tidied: number) => Layout {
  let shape: Shape | undefined;
  let last: { structure: string; tidied: number; layout: Layout } | undefined;
  return (topology, tidied) => {
    const now = structure(topology);
    if (last && last.structure === now && last.tidied === tidied) return last.layout;
    const layout = layoutTopology(topology, last?.tidied === tidied ? shape : undefined);
    shape = layout.shape;
    last = { structure: now, tidied, layout };
    return layout;
  };
}

/** The tidy layout. `tidied` counts how often the user asked for it anew, which forgets the shape kept before. */
export function useTidyLayout(topology: Topology, tidied: number): Layout {
  const [layOut] = useState(makeLayouter);
  return useMemo(() => layOut(topology, tidied), [layOut, topology, tidied]);
}
