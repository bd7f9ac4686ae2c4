// SPDX-License-Identifier: Apache-2.0
import '@xyflow/react/dist/base.css';
import { ReactFlow, ViewportPortal } from '@xyflow/react';
import { useCallback, useEffect, useRef, useState, type MouseEvent } from 'react';
import { offerMap } from '../../commands/map.ts';
import { useUi } from '../../store/ui.ts';
import { Boundary } from '../../lib/Boundary.tsx';
import { later } from '../../lib/later.tsx';
import type { MenuRequest } from './ContextMenu.tsx';
import { FarCanvas } from './FarCanvas.tsx';
import { Ground } from './Ground.tsx';
import { openSubject } from './keys.ts';
import type { Topology } from './map-model.ts';
import { MapControls } from './MapControls.tsx';
import { nodeTypes, type FlowNode } from './nodes.tsx';
import { noticeOf } from './Notice.tsx';
import { TrafficCanvas } from './TrafficCanvas.tsx';
import { useFlowNodes } from './useFlowNodes.ts';
import { useKeyboard } from './useKeyboard.ts';
import { useMoved } from './useMoved.ts';
import { boxOf, subjectOf, usePlan } from './usePlan.ts';
import { usePointer } from './usePointer.ts';
import { useFit, useLaterCull, useWindow } from './useView.ts';
import { zoomLimits } from './view.ts';

const ContextMenu = later(() => import('./ContextMenu.tsx'));

/** React Flow as the shell for pan, zoom and drag; what is drawn and how much of it is decided here. */
export function MapCanvas({ topology }: { readonly topology: Topology }) {
  const root = useRef<HTMLDivElement>(null);
  const selection = useUi((ui) => ui.selection);
  const [tidied, setTidied] = useState(0);
  const { moved, onNodesChange, onNodeDragStop, forget } = useMoved(topology.lab);
  const plan = usePlan(topology, moved, tidied);
  const { layout, routes, byKey } = plan;
  const window = useWindow(layout);
  const { level } = window;
  const groundCull = useLaterCull(window.cull);
  const selectedKey = selection ? `${selection.kind}:${selection.id}` : null;
  const selectedBox = selectedKey === null ? undefined : boxOf(plan, selectedKey);
  const { fit, zoomBy, onMoveStart, reveal } = useFit(layout, noticeOf(topology) !== null, selectedBox);
  const nodes = useFlowNodes(byKey, layout, window, selectedKey);
  const onKeyDown = useKeyboard({ root, plan, level, selectedKey, reveal });
  const { hovered, keyAt, onPaneMouseMove, onPaneClick } = usePointer(plan, level);
  const [menu, setMenu] = useState<MenuRequest | null>(null);

  const tidy = useCallback((): void => {
    forget();
    setTidied((count) => count + 1);
    fit();
  }, [forget, fit]);
  useEffect(() => offerMap({ fit, tidy, zoomBy }), [fit, tidy, zoomBy]);
  const onContextMenu = (event: MouseEvent): void => {
    event.preventDefault();
    const frame = root.current?.getBoundingClientRect();
    const subject = subjectOf(plan, keyAt(event));
    if (subject.kind !== 'lab') useUi.getState().select(subject);
    if (frame) setMenu({ subject, x: event.clientX - frame.left, y: event.clientY - frame.top });
  };
  const closeMenu = (): void => setMenu(null);

  return (
    <div ref={root} className="map-flow">
      <ReactFlow<FlowNode>
        {...settings}
        nodes={nodes}
        aria-label={`Map of ${topology.lab}. Arrow keys follow the cables, Enter opens.`}
        tabIndex={level === 'far' ? 0 : -1}
        onKeyDown={onKeyDown}
        onContextMenu={onContextMenu}
        onNodesChange={onNodesChange}
        onNodeDragStop={onNodeDragStop}
        onPaneClick={onPaneClick}
        onPaneMouseMove={onPaneMouseMove}
        onMoveStart={onMoveStart}
      >
        {level !== 'far' && (
          <ViewportPortal>
            <Ground
              topology={topology}
              layout={layout}
              routes={routes}
              cull={groundCull}
              level={level}
              selection={selection}
              hovered={hovered}
            />
          </ViewportPortal>
        )}
      </ReactFlow>
      {level === 'far' ? (
        <FarCanvas topology={topology} layout={layout} routes={routes} selection={selection} />
      ) : (
        <TrafficCanvas cables={topology.cables} routes={routes} cull={groundCull} />
      )}
      <MapControls />
      {menu && (
        <Boundary onDismiss={closeMenu}>
          <ContextMenu request={menu} onClose={closeMenu} />
        </Boundary>
      )}
    </div>
  );
}

/**
 * What never changes. React Flow hands some of it to every node: were it made anew, every node would be rendered
 * anew.
 */
const settings = {
  'aria-roledescription': 'map',
  nodeTypes,
  onNodeClick: (_event: MouseEvent, node: FlowNode): void =>
    useUi.getState().select(node.data.node.selection),
  onNodeDoubleClick: (_event: MouseEvent, node: FlowNode): void => openSubject(node.data.node.selection),
  minZoom: zoomLimits.min,
  maxZoom: zoomLimits.max,
  nodesConnectable: false,
  nodesFocusable: false,
  edgesFocusable: false,
  disableKeyboardA11y: true,
  elevateNodesOnSelect: false,
  selectNodesOnDrag: false,
  zoomOnDoubleClick: false,
  selectionKeyCode: null,
  multiSelectionKeyCode: null,
  deleteKeyCode: null,
  panActivationKeyCode: null,
  proOptions: { hideAttribution: true },
};
