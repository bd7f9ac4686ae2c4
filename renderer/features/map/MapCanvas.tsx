// SPDX-License-Identifier: Apache-2.0
import '@xyflow/react/dist/base.css';
import {
  ReactFlow,
  useReactFlow,
  useStore,
  useStoreApi,
  ViewportPortal,
  type NodeChange,
} from '@xyflow/react';
import {
  useCallback,
  useEffect,
  useMemo,
  useRef,
  useState,
  type KeyboardEvent,
  type MouseEvent,
} from 'react';
import { runCommand } from '../../commands/run.ts';
import type { Subject } from '../../store/subject.ts';
import { useUi } from '../../store/ui.ts';
import { arrowKeys, neighbour } from './arrows.ts';
import { cableAt } from './cables.ts';
import { ContextMenu, type MenuRequest } from './ContextMenu.tsx';
import { FarCanvas } from './FarCanvas.tsx';
import { Ground } from './Ground.tsx';
import { overlaps, withMoved, type Box, type Layout } from './layout.ts';
import { readMoved, writeMoved, type Moved } from './moved.ts';
import { nodeTypes, type FlowNode } from './nodes.tsx';
import { noticeOf } from './Notice.tsx';
import { routeCables } from './route.ts';
import type { Cable, MapNode, Topology } from './topology.ts';
import { TrafficCanvas } from './TrafficCanvas.tsx';
import { useTidyLayout } from './useTopology.ts';
import {
  fitView,
  keeps,
  nextCull,
  nextLevel,
  shiftToShow,
  visibleBox,
  zoomLimits,
  type Cull,
  type Level,
  type Padding,
  type View,
} from './view.ts';

interface Props {
  readonly topology: Topology;
  readonly onList: () => void;
}

const allNodes = (topology: Topology): readonly MapNode[] => [
  topology.uplink,
  ...topology.nats,
  ...topology.bridges,
  ...topology.guests,
];

/** What is in view, as far as React must know: it changes only at borders, not with every pixel. */
interface Window {
  readonly level: Level;
  readonly cull: Cull;
}

/** React Flow as the shell for pan, zoom and drag; what is drawn and how much of it is decided here. */
export function MapCanvas({ topology, onList }: Props) {
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
  const { fit, zoomBy, onMoveStart, reveal } = useFit(layout, noticeOf(topology) !== null);
  const byKey = useMemo(() => new Map(allNodes(topology).map((node) => [node.key, node])), [topology]);
  const selectedKey = selection ? `${selection.kind}:${selection.id}` : null;
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
  const tidyUp = (): void => {
    setMoved({});
    writeMoved(lab, {});
    setTidied((count) => count + 1);
    fit();
  };
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
    setHovered(on ? null : cableAt(topology.cables, routes, point, 7 / zoom));
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
              cull={window.cull}
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
        <TrafficCanvas cables={topology.cables} routes={routes} cull={window.cull} />
      )}
      <div className="map-controls">
        <button type="button" className="map-control" aria-label="Zoom in" onClick={() => zoomBy(1.25)}>
          +
        </button>
        <button type="button" className="map-control" aria-label="Zoom out" onClick={() => zoomBy(0.8)}>
          −
        </button>
        <button type="button" className="map-control" title="Show the whole lab" onClick={fit}>
          Fit
        </button>
        <button
          type="button"
          className="map-control"
          title="Put every node back in its place"
          onClick={tidyUp}
        >
          Tidy
        </button>
        <button type="button" className="map-control" title="The same things as a list" onClick={onList}>
          As list
        </button>
      </div>
      {menu && <ContextMenu request={menu} onClose={() => setMenu(null)} />}
    </div>
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

/** The part of React Flow's state that says where it looks. */
interface Look {
  readonly transform: readonly [number, number, number];
  readonly width: number;
  readonly height: number;
}

/** Turns each view into a {@link Window}, with the hysteresis that needs the one before. */
function makeWatcher(): (look: Look, layout: Layout) => Window {
  let window: Window = { level: 'far', cull: { box: { x: 0, y: 0, width: 0, height: 0 }, step: 0 } };
  let seen: { transform: Look['transform']; width: number; height: number; layout: Layout } | undefined;
  return ({ transform, width, height }, layout) => {
    if (width === 0 || height === 0) return window;
    if (
      seen?.transform === transform &&
      seen.width === width &&
      seen.height === height &&
      seen.layout === layout
    )
      return window;
    seen = { transform, width, height, layout };
    const [x, y, zoom] = transform;
    const view: View = { x, y, zoom, width, height };
    const box = visibleBox(view);
    let inView = 0;
    for (const node of layout.nodes.values()) if (overlaps(node, box)) inView++;
    const level = nextLevel(window.level, zoom, inView);
    const cull = nextCull(window.cull.step === 0 ? null : window.cull, view);
    if (level !== window.level || cull !== window.cull) window = { level, cull };
    return window;
  };
}

/** The level of detail and the part of the map to keep in the DOM, as the view moves. */
function useWindow(layout: Layout): Window {
  const [watch] = useState(makeWatcher);
  return useStore(useCallback((state: Look) => watch(state, layout), [watch, layout]));
}

const plainPadding: Padding = { top: 16, right: 16, bottom: 46, left: 16 };
const noticePadding: Padding = { ...plainPadding, top: 68 };

/** Fits the map to its window until the user moves it, and again when asked. */
function useFit(layout: Layout, notice: boolean) {
  const flow = useReactFlow();
  const store = useStoreApi();
  const width = useStore((state) => state.width);
  const height = useStore((state) => state.height);
  const userMoved = useRef(false);
  const { bounds } = layout;
  const padding = notice ? noticePadding : plainPadding;
  const show = useCallback(
    (to: { x: number; y: number; zoom: number }) => {
      void flow.setViewport(to);
    },
    [flow],
  );
  const fit = useCallback(() => {
    userMoved.current = false;
    if (width > 0 && height > 0) show(fitView(bounds, width, height, padding));
  }, [bounds, width, height, padding, show]);
  useEffect(() => {
    if (!userMoved.current) fit();
  }, [fit]);
  const onMoveStart = useCallback((event: unknown) => {
    // React Flow passes null for a move that the program made.
    if (event !== null) userMoved.current = true;
  }, []);
  const zoomBy = useCallback(
    (factor: number) => {
      userMoved.current = true;
      const { transform } = store.getState();
      const [x, y, zoom] = transform;
      const next = Math.min(zoomLimits.max, Math.max(zoomLimits.min, zoom * factor));
      const [cx, cy] = [width / 2, height / 2];
      show({ zoom: next, x: cx - ((cx - x) / zoom) * next, y: cy - ((cy - y) / zoom) * next });
    },
    [store, width, height, show],
  );
  const reveal = useCallback(
    (box: Box) => {
      const [x, y, zoom] = store.getState().transform;
      const { dx, dy } = shiftToShow({ x, y, zoom, width, height }, box, 24);
      if (dx === 0 && dy === 0) return;
      userMoved.current = true;
      show({ x: x + dx, y: y + dy, zoom });
    },
    [store, width, height, show],
  );
  return { fit, zoomBy, onMoveStart, reveal };
}

interface Made {
  readonly node: MapNode;
  readonly box: Box;
  readonly level: Level;
  readonly selected: boolean;
  readonly tabStop: boolean;
  readonly flow: FlowNode;
}

/** React Flow's nodes for what is in view. A node that is as before keeps its object, so React Flow skips it. */
function useFlowNodes(
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
      if (!box || !keeps(cull, key, box)) continue;
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
