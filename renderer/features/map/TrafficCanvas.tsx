// SPDX-License-Identifier: Apache-2.0
import { useStoreApi } from '@xyflow/react';
import { useEffect, useRef } from 'react';
import { useCore } from '../../store/core.ts';
import type { Route } from './route.ts';
import type { Cable } from './map-model.ts';
import { TrafficPainter } from './TrafficPainter.ts';
import type { Cull } from './view.ts';

interface Props {
  readonly cables: readonly Cable[];
  readonly routes: ReadonlyMap<string, Route>;
  /** The part of the map in which dots are drawn. */
  readonly cull: Cull;
}

const none: readonly Cable[] = [];

/**
 * Dots that run along the cables in view, in both directions, as fast and dense as the traffic is. Without a core
 * nobody knows of any.
 */
export function TrafficCanvas({ cables, routes, cull }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const painter = useRef<TrafficPainter>(null);
  const flow = useStoreApi();
  const live = useCore((state) => state.status === 'ready');
  useEffect(() => {
    if (!canvas.current) return undefined;
    const made = new TrafficPainter(canvas.current, flow.getState);
    painter.current = made;
    return () => made.close();
  }, [flow]);
  useEffect(() => painter.current?.follow(live ? cables : none, routes, cull), [live, cables, routes, cull]);
  return <canvas ref={canvas} className="map-canvas map-traffic" aria-hidden="true" />;
}
