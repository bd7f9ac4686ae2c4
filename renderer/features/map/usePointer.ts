// SPDX-License-Identifier: Apache-2.0
import { useReactFlow, useStoreApi } from '@xyflow/react';
import { useState, type MouseEvent } from 'react';
import { useUi } from '../../store/ui.ts';
import { cableAt } from './cables.ts';
import { keyUnder } from './keys.ts';
import { overlaps } from './layout.ts';
import type { Cable } from './map-model.ts';
import type { Plan } from './usePlan.ts';
import type { Level } from './view.ts';

/** How far from a cable the pointer still means it, CSS pixels. */
const cableReach = 12;

interface Pointing {
  /** The cable under the pointer. */
  readonly hovered: Cable | null;
  /** The key of the node or port under the pointer; the canvas of the far level has no elements to ask. */
  readonly keyAt: (event: MouseEvent) => string | null;
  readonly onPaneMouseMove: (event: MouseEvent) => void;
  readonly onPaneClick: (event: MouseEvent) => void;
}

/** The map by mouse, where no element of its own takes the event. */
export function usePointer({ topology, byKey, layout, routes }: Plan, level: Level): Pointing {
  const flow = useReactFlow();
  const store = useStoreApi();
  const [hovered, setHovered] = useState<Cable | null>(null);
  const pointOf = ({ clientX, clientY }: MouseEvent): { x: number; y: number } =>
    flow.screenToFlowPosition({ x: clientX, y: clientY }, { snapToGrid: false });
  const drawnAt = (event: MouseEvent): string | null => {
    const point = { ...pointOf(event), width: 1, height: 1 };
    return [...layout.nodes].find(([, box]) => overlaps(box, point))?.[0] ?? null;
  };
  return {
    hovered,
    keyAt: (event) => keyUnder(event.target) ?? (level === 'far' ? drawnAt(event) : null),
    onPaneMouseMove: (event) => {
      // A pan moves the cables under a pointer that stays: nothing is looked for until it ends.
      if (event.buttons !== 0 || level === 'far') return;
      const on = event.target instanceof Element && event.target.closest('.map-node, .map-port') !== null;
      const [, , zoom] = store.getState().transform;
      setHovered(on ? null : cableAt(topology.cables, routes, pointOf(event), cableReach / zoom));
    },
    onPaneClick: (event) => {
      const key = level === 'far' ? drawnAt(event) : null;
      useUi.getState().select(key === null ? null : (byKey.get(key)?.selection ?? null));
    },
  };
}
