// SPDX-License-Identifier: Apache-2.0
import { useMemo } from 'react';
import type { Subject } from '../../store/subject.ts';
import { withMoved, type Box, type Layout } from './layout.ts';
import type { MapNode, Topology } from './map-model.ts';
import type { Moved } from './moved.ts';
import { routeCables, type Route } from './route.ts';
import { useTidyLayout } from './useTopology.ts';

/** What the map draws, and where. */
export interface Plan {
  readonly topology: Topology;
  /** Every node by its key; ports have keys of their own (`link:…`). */
  readonly byKey: ReadonlyMap<string, MapNode>;
  readonly layout: Layout;
  readonly routes: ReadonlyMap<string, Route>;
}

const allNodes = (topology: Topology): readonly MapNode[] => [
  topology.uplink,
  ...topology.nats,
  ...topology.bridges,
  ...topology.guests,
];

/** Lays a lab out, with what was dragged elsewhere. `tidied` counts how often it was asked for anew. */
export function usePlan(topology: Topology, moved: Moved, tidied: number): Plan {
  const tidy = useTidyLayout(topology, tidied);
  const layout = useMemo(() => withMoved(topology, tidy, moved), [topology, tidy, moved]);
  const routes = useMemo(() => routeCables(topology, layout), [topology, layout]);
  const byKey = useMemo(() => new Map(allNodes(topology).map((node) => [node.key, node])), [topology]);
  return { topology, byKey, layout, routes };
}

/** Where a node or port is. */
export const boxOf = ({ layout }: Plan, key: string): Box | undefined =>
  layout.nodes.get(key) ?? layout.ports.get(key);

/** What a node or port stands for; the lab where there is none. */
export function subjectOf({ topology, byKey }: Plan, key: string | null): Subject {
  if (key?.startsWith('link:')) return { kind: 'link', id: key.slice('link:'.length) };
  return (key === null ? undefined : byKey.get(key)?.selection) ?? { kind: 'lab', id: topology.lab };
}
