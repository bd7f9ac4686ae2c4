// SPDX-License-Identifier: Apache-2.0
import { useMemo, useState } from 'react';
import { overlaps, type Box, type Layout } from './layout.ts';
import type { MapNode } from './map-model.ts';
import type { FlowNode } from './nodes.tsx';
import type { Window } from './useView.ts';
import type { Level } from './view.ts';

interface Made {
  readonly node: MapNode;
  readonly box: Box;
  readonly level: Level;
  readonly selected: boolean;
  readonly tabStop: boolean;
  readonly flow: FlowNode;
}

/** React Flow's nodes for what is in view. A node that is as before keeps its object, so React Flow skips it. */
export function useFlowNodes(
  byKey: ReadonlyMap<string, MapNode>,
  layout: Layout,
  { level, cull }: Window,
  selectedKey: string | null,
): FlowNode[] {
  const [made] = useState(() => new Map<string, Made>());
  return useMemo(() => {
    if (level === 'far') return [];
    const tabStopKey = selectedKey !== null && byKey.has(selectedKey) ? selectedKey : [...byKey.keys()][0];
    const nodes: FlowNode[] = [];
    for (const [key, node] of byKey) {
      const box = layout.nodes.get(key);
      if (!box || !overlaps(box, cull.box)) continue;
      const selected = key === selectedKey;
      const tabStop = key === tabStopKey;
      const old = made.get(key);
      if (
        old &&
        old.node === node &&
        old.box === box &&
        old.level === level &&
        old.selected === selected &&
        old.tabStop === tabStop
      ) {
        nodes.push(old.flow);
        continue;
      }
      const { x, y, width, height } = box;
      const flow: FlowNode = {
        id: key,
        type: node.kind,
        position: { x, y },
        width,
        height,
        handles: [],
        selected,
        data: { node, level, tabStop },
      };
      made.set(key, { node, box, level, selected, tabStop, flow });
      nodes.push(flow);
    }
    return nodes;
  }, [made, byKey, layout, level, cull, selectedKey]);
}
