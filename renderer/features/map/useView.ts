// SPDX-License-Identifier: Apache-2.0
import { useReactFlow, useStore, useStoreApi } from '@xyflow/react';
import { useCallback, useEffect, useRef, useState } from 'react';
import { overlaps, type Box, type Layout } from './layout.ts';
import {
  fitView,
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

/** What is in view, as far as React must know: it changes only at borders, not with every pixel. */
export interface Window {
  readonly level: Level;
  readonly cull: Cull;
}

/** The part of React Flow's state that says where it looks. */
interface Look {
  readonly transform: readonly [number, number, number];
  readonly width: number;
  readonly height: number;
}

/** Turns each view into a {@link Window}, with the hysteresis that needs the one before. */
function makeWatcher(): (look: Look, layout: Layout) => Window {
  let window: Window = { level: 'far', cull: { box: { x: 0, y: 0, width: 0, height: 0 }, zoom: 0 } };
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
    const cull = nextCull(window.cull.zoom === 0 ? null : window.cull, view);
    if (level !== window.level || cull !== window.cull) window = { level, cull };
    return window;
  };
}

/** The level of detail and the part of the map to keep in the DOM, as the view moves. */
export function useWindow(layout: Layout): Window {
  const [watch] = useState(makeWatcher);
  return useStore(useCallback((state: Look) => watch(state, layout), [watch, layout]));
}

/**
 * The same part of the map, a frame later. Nodes come into the DOM first, ports and cables in the next frame: all
 * of it lies outside the view still, and two short frames are better than a long one. Where the zoom has changed
 * nothing waits.
 */
export function useLaterCull(cull: Cull): Cull {
  const [late, setLate] = useState(cull);
  useEffect(() => {
    // The first of the two is still in the frame that has just brought the nodes in.
    requestAnimationFrame(() => requestAnimationFrame(() => setLate(cull)));
  }, [cull]);
  return late.zoom === cull.zoom ? late : cull;
}

const plainPadding: Padding = { top: 16, right: 16, bottom: 46, left: 16 };
const noticePadding: Padding = { ...plainPadding, top: 68 };

/**
 * Fits the map to its window until the user moves it, and again when asked. What is selected is kept in sight:
 * the palette selects from afar, and the inspector that opens may have taken the room where it stood.
 */
export function useFit(layout: Layout, notice: boolean, selected: Box | undefined) {
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
  const latest = useRef(selected);
  useEffect(() => {
    latest.current = selected;
  }, [selected]);
  const where = selected && `${selected.x} ${selected.y}`;
  useEffect(() => {
    const [x, y, zoom] = store.getState().transform;
    const box = latest.current;
    // What is seen in part was perhaps just clicked, and must not move away from the pointer.
    if (
      where === undefined ||
      !box ||
      width === 0 ||
      overlaps(box, visibleBox({ x, y, zoom, width, height }))
    )
      return;
    reveal(box);
  }, [where, width, height, store, reveal]);
  return { fit, zoomBy, onMoveStart, reveal };
}
