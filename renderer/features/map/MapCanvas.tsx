// SPDX-License-Identifier: Apache-2.0
import '@xyflow/react/dist/base.css';
import { ReactFlow, useReactFlow, useStoreApi, ViewportPortal, type NodeChange } from '@xyflow/react';
import {
  useCallback,
  useEffect,
  useMemo,
  useRef,
  useState,
  type KeyboardEvent,
  type MouseEvent,
} from 'react';
import { offerMap } from '../../commands/map.ts';
import { runCommand } from '../../commands/run.ts';
import { useCommand } from '../../commands/use-command.ts';
import type { Subject } from '../../store/subject.ts';
import { useUi } from '../../store/ui.ts';
import { arrowKeys, neighbour } from './arrows.ts';
import { cableAt } from './cables.ts';
import { ContextMenu, type MenuRequest } from './ContextMenu.tsx';
import { FarCanvas } from './FarCanvas.tsx';
import { Ground } from './Ground.tsx';
import { overlaps, withMoved } from './layout.ts';
import { readMoved, writeMoved, type Moved } from './moved.ts';
import { nodeTypes, type FlowNode } from './nodes.tsx';
import { noticeOf } from './Notice.tsx';
import { routeCables } from './route.ts';
import type { Cable, MapNode, Topology } from './map-model.ts';
import { TrafficCanvas } from './TrafficCanvas.tsx';
import { useFlowNodes } from './useFlowNodes.ts';
import { useTidyLayout } from './useTopology.ts';
import { useFit, useLaterCull, useWindow } from './useView.ts';
import { zoomLimits } from './view.ts';

interface Props {
  readonly topology: Topology;
}

const allNodes = (topology: Topology): readonly MapNode[] => [
  topology.uplink,
  ...topology.nats,
  ...topology.bridges,
  ...topology.guests,
];

/** React Flow as the shell for pan, zoom and drag; what is drawn and how much of it is decided here. */
export function MapCanvas({ topology }: Props) {
  const { lab } = topology;
  const [moved, setMoved] = useState<Moved>(() => readMoved(lab));
  const [tidied, setTidied] = useState(0);
  const tidy = useTidyLayout(topology, tidied);
  const layout = useMemo(() => withMoved(topology, tidy, moved), [topology, tidy, moved]);
  const routes = useMemo(() => routeCables(topology, layout), [topology, layout]);
  const selection = useUi((ui) => ui.selection);
  const [hovered, setHovered] = useState<Cable | null>(null);
  const [menu, setMenu] = useState<MenuRequest | null>(null);
  const root = useRef<HTMLDivElement>(null);
  const window = useWindow(layout);
  const groundCull = useLaterCull(window.cull);
  const selectedKey = selection ? `${selection.kind}:${selection.id}` : null;
  const selectedBox =
    selectedKey === null ? undefined : (layout.nodes.get(selectedKey) ?? layout.ports.get(selectedKey));
  const { fit, zoomBy, onMoveStart, reveal } = useFit(layout, noticeOf(topology) !== null, selectedBox);
  const byKey = useMemo(() => new Map(allNodes(topology).map((node) => [node.key, node])), [topology]);
  const nodes = useFlowNodes(byKey, layout, window, selectedKey);

  const onNodesChange = useCallback((changes: NodeChange<FlowNode>[]) => {
    const places = changes.flatMap((change) =>
      change.type === 'position' && change.position ? [[change.id, change.position] as const] : [],
    );
    if (places.length > 0) setMoved((before) => ({ ...before, ...Object.fromEntries(places) }));
  }, []);
  const latestMoved = useRef(moved);
  useEffect(() => {
    latestMoved.current = moved;
  }, [moved]);
  const onNodeDragStop = useCallback(() => writeMoved(lab, latestMoved.current), [lab]);
  const tidyUp = useCallback((): void => {
    setMoved({});
    writeMoved(lab, {});
    setTidied((count) => count + 1);
    fit();
  }, [lab, fit]);
  useEffect(() => offerMap({ fit, tidy: tidyUp, zoomBy }), [fit, tidyUp, zoomBy]);
  const subjectAt = (key: string | null): Subject => {
    const port = key?.startsWith('link:') ? ({ kind: 'link', id: key.slice('link:'.length) } as const) : null;
    return port ?? (key === null ? undefined : byKey.get(key)?.selection) ?? { kind: 'lab', id: lab };
  };
  const goTo = (key: string): void => {
    const box = layout.nodes.get(key) ?? layout.ports.get(key);
    if (!box) return;
    const subject = subjectAt(key);
    if (subject.kind !== 'lab') useUi.getState().select(subject);
    // On the canvas there is nothing that could take the focus and be read out.
    if (window.level === 'far') useUi.getState().announce(key.slice(key.lastIndexOf('/') + 1));
    reveal(box);
    // The node may only now come into the DOM.
    requestAnimationFrame(() => requestAnimationFrame(() => focusKey(root.current, key)));
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const key = keyUnder(event.target) ?? selectedKey;
    const direction = arrowKeys[event.key];
    if (direction && !event.ctrlKey && !event.altKey && !event.metaKey) {
      event.preventDefault();
      const next = key === null ? topology.uplink.key : neighbour(topology, layout, key, direction);
      if (next !== null) goTo(next);
    } else if (
      event.key === 'Enter' &&
      key !== null &&
      event.target instanceof HTMLElement &&
      event.target.tagName !== 'BUTTON'
    ) {
      event.preventDefault();
      open(subjectAt(key));
    } else if (event.key === 'Escape') {
      useUi.getState().select(null);
    }
  };
  const onContextMenu = (event: MouseEvent): void => {
    event.preventDefault();
    const frame = root.current?.getBoundingClientRect();
    const key = keyUnder(event.target) ?? (window.level === 'far' ? nodeAt(event) : null);
    const subject = subjectAt(key);
    if (subject.kind !== 'lab') useUi.getState().select(subject);
    if (frame) setMenu({ subject, x: event.clientX - frame.left, y: event.clientY - frame.top });
  };
  const flow = useReactFlow();
  const store = useStoreApi();
  const nodeAt = (event: MouseEvent): string | null => {
    const { x, y } = flow.screenToFlowPosition({ x: event.clientX, y: event.clientY }, { snapToGrid: false });
    const point = { x, y, width: 1, height: 1 };
    return [...layout.nodes].find(([, box]) => overlaps(box, point))?.[0] ?? null;
  };
  const onPaneMouseMove = (event: MouseEvent): void => {
    // A pan moves the cables under a pointer that stays: nothing is looked for until it ends.
    if (event.buttons !== 0 || window.level === 'far') return;
    const on = event.target instanceof Element && event.target.closest('.map-node, .map-port') !== null;
    const point = flow.screenToFlowPosition({ x: event.clientX, y: event.clientY }, { snapToGrid: false });
    const [, , zoom] = store.getState().transform;
    setHovered(on ? null : cableAt(topology.cables, routes, point, 12 / zoom));
  };
  const onPaneClick = (event: MouseEvent): void => {
    const key = window.level === 'far' ? nodeAt(event) : null;
    useUi.getState().select(key === null ? null : (byKey.get(key)?.selection ?? null));
  };

  return (
    <div ref={root} className="map-flow">
      <ReactFlow<FlowNode>
        nodes={nodes}
        aria-roledescription="map"
        aria-label={`Map of ${lab}. Arrow keys follow the cables, Enter opens.`}
        tabIndex={window.level === 'far' ? 0 : -1}
        onKeyDown={onKeyDown}
        onContextMenu={onContextMenu}
        nodeTypes={nodeTypes}
        onNodesChange={onNodesChange}
        onNodeDragStop={onNodeDragStop}
        onNodeClick={onNodeClick}
        onNodeDoubleClick={onNodeDoubleClick}
        onPaneClick={onPaneClick}
        onPaneMouseMove={onPaneMouseMove}
        onMoveStart={onMoveStart}
        minZoom={zoomLimits.min}
        maxZoom={zoomLimits.max}
        nodesConnectable={false}
        nodesFocusable={false}
        edgesFocusable={false}
        disableKeyboardA11y
        elevateNodesOnSelect={false}
        selectNodesOnDrag={false}
        zoomOnDoubleClick={false}
        selectionKeyCode={null}
        multiSelectionKeyCode={null}
        deleteKeyCode={null}
        panActivationKeyCode={null}
        proOptions={attribution}
      >
        {window.level !== 'far' && (
          <ViewportPortal>
            <Ground
              topology={topology}
              layout={layout}
              routes={routes}
              cull={groundCull}
              level={window.level}
              selection={selection}
              hovered={hovered}
            />
          </ViewportPortal>
        )}
      </ReactFlow>
      {window.level === 'far' ? (
        <FarCanvas topology={topology} layout={layout} routes={routes} selection={selection} />
      ) : (
        <TrafficCanvas cables={topology.cables} routes={routes} cull={groundCull} />
      )}
      <div className="map-controls">
        <Control command="map.zoomIn" text="+" />
        <Control command="map.zoomOut" text="−" />
        <Control command="map.fit" text="Fit" />
        <Control command="map.tidy" text="Tidy" />
        <Control command="map.list" text="As list" />
      </div>
      {menu && <ContextMenu request={menu} onClose={() => setMenu(null)} />}
    </div>
  );
}

/** A button at the map's edge: a sign or a short word for a command of the table. */
function Control({ command, text }: { readonly command: string; readonly text: string }) {
  const { label, run, command: it } = useCommand(command, null);
  return (
    <button
      type="button"
      className="map-control"
      title={it.shortcut === undefined ? label : `${label} (${it.shortcut})`}
      {...(text.length === 1 ? { 'aria-label': label } : {})}
      onClick={run}
    >
      {text}
    </button>
  );
}

const attribution = { hideAttribution: true };

// React Flow hands these to every node: were they made anew, every node would be rendered anew.
const onNodeClick = (_event: MouseEvent, node: FlowNode): void =>
  useUi.getState().select(node.data.node.selection);
const onNodeDoubleClick = (_event: MouseEvent, node: FlowNode): void => open(node.data.node.selection);

/** What Enter and a double click do. */
function open(subject: Subject): void {
  if (subject.kind === 'guest') void runCommand('guest.serial', subject);
  else if (subject.kind !== 'lab') useUi.getState().select(subject);
}

function keyUnder(target: EventTarget | null): string | null {
  if (!(target instanceof Element)) return null;
  const own = target.closest('[data-key]') ?? target.closest('.map-node')?.querySelector('[data-key]');
  return own?.getAttribute('data-key') ?? null;
}

function focusKey(root: HTMLElement | null, key: string): void {
  const element = root?.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (element instanceof HTMLElement) element.focus({ preventScroll: true });
  else root?.querySelector<HTMLElement>('.react-flow')?.focus({ preventScroll: true });
}
