// SPDX-License-Identifier: Apache-2.0
import type { NodeChange } from '@xyflow/react';
import { useCallback, useEffect, useRef, useState } from 'react';
import { readMoved, writeMoved, type Moved } from './moved.ts';
import type { FlowNode } from './nodes.tsx';

interface Moving {
  readonly moved: Moved;
  /** For React Flow: nodes that are dragged, frame by frame. */
  readonly onNodesChange: (changes: NodeChange<FlowNode>[]) => void;
  readonly onNodeDragStop: () => void;
  /** Puts every node back in its place. */
  readonly forget: () => void;
}

/** Where somebody drags the nodes of a lab to, kept from visit to visit. */
export function useMoved(lab: string): Moving {
  const [moved, setMoved] = useState<Moved>(() => readMoved(lab));
  const latest = useRef(moved);
  useEffect(() => {
    latest.current = moved;
  }, [moved]);
  const onNodesChange = useCallback((changes: NodeChange<FlowNode>[]) => {
    const places = changes.flatMap((change) =>
      change.type === 'position' && change.position ? [[change.id, change.position] as const] : [],
    );
    if (places.length > 0) setMoved((before) => ({ ...before, ...Object.fromEntries(places) }));
  }, []);
  const onNodeDragStop = useCallback(() => writeMoved(lab, latest.current), [lab]);
  const forget = useCallback(() => {
    setMoved({});
    writeMoved(lab, {});
  }, [lab]);
  return { moved, onNodesChange, onNodeDragStop, forget };
}
