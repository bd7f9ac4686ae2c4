// SPDX-License-Identifier: Apache-2.0
import { useMemo, useState } from 'react';
import { useTables } from '../../store/tables.ts';
import { layoutTopology, type Layout, type Shape } from './layout.ts';
import { shareByKey } from './share.ts';
import { deriveTopology, type Topology } from './topology.ts';

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

/** What the map draws of a lab, from the tables; null while there is no such lab. */
export function useTopology(lab: string): Topology | null {
  const host = useTables((tables) => tables.host);
  const labs = useTables((tables) => tables.labs);
  const networks = useTables((tables) => tables.networks);
  const links = useTables((tables) => tables.links);
  const guests = useTables((tables) => tables.guests);
  const [memory] = useState<{ topology: Topology | null }>(() => ({ topology: null }));
  return useMemo(() => {
    memory.topology = shareTopology(
      memory.topology,
      deriveTopology({ host, labs, networks, links, guests }, lab),
    );
    return memory.topology;
  }, [memory, host, labs, networks, links, guests, lab]);
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

/** The tidy layout. `tidied` counts how often the user asked for it anew, which forgets the shape kept before. */
export function useTidyLayout(topology: Topology, tidied: number): Layout {
  const [memory] = useState<{
    shape: Shape | undefined;
    tidied: number;
    structure: string;
    layout: Layout | null;
  }>(() => ({
    shape: undefined,
    tidied,
    structure: '',
    layout: null,
  }));
  return useMemo(() => {
    const now = structure(topology);
    if (memory.layout && memory.structure === now && memory.tidied === tidied) return memory.layout;
    if (memory.tidied !== tidied) memory.shape = undefined;
    const layout = layoutTopology(topology, memory.shape);
    Object.assign(memory, { shape: layout.shape, tidied, structure: now, layout });
    return layout;
  }, [memory, topology, tidied]);
}
