// SPDX-License-Identifier: Apache-2.0
import { useStoreApi } from '@xyflow/react';
import { useEffect, useRef } from 'react';
import { gauges } from '../../store/gauges.ts';
import { onTheme, token } from '../../store/theme.ts';
import { overlaps, type Box } from './layout.ts';
import { trackOf, type Route, type Track } from './route.ts';
import type { Cable } from './topology.ts';
import { flowOf, type Flow } from './traffic.ts';

interface Props {
  readonly cables: readonly Cable[];
  readonly routes: ReadonlyMap<string, Route>;
  /** The part of the map in which dots are drawn. */
  readonly cull: Box;
}

/** One cable with traffic: where it runs and what moves on it. Distances grow without end; drawing wraps them. */
interface Lane {
  readonly track: Track;
  readonly layer: Cable['layer'];
  down: Flow | null;
  up: Flow | null;
  downAt: number;
  upAt: number;
}

/** Most dots of a frame. Denser cables are thinned before the frame takes too long. */
const mostDots = 600;
/** Time between frames, ms: the dots move slowly enough for 30 a second, and that halves what they cost. */
const frameMs = 30;

const reducedMotion = '(prefers-reduced-motion: reduce)';

/** Tracks are costly to make and a route seldom changes. */
const tracks = new WeakMap<Route, Track>();

function trackFor(route: Route): Track {
  let track = tracks.get(route);
  if (!track) tracks.set(route, (track = trackOf(route)));
  return track;
}

/**
 * Dots that run along the cables in view, in both directions, as fast and dense as the traffic is. One canvas over
 * the map; while nothing moves no frame is asked for.
 */
export function TrafficCanvas({ cables, routes, cull }: Props) {
  const ref = useRef<HTMLCanvasElement>(null);
  const flow = useStoreApi();
  useEffect(() => {
    const canvas = ref.current;
    const context = canvas?.getContext('2d');
    if (!canvas || !context) return undefined;
    const still = matchMedia(reducedMotion);
    const lanes: Lane[] = [];
    let colours = { l2: token('--ok'), l3: token('--l3') };
    let request = 0;
    let last = 0;

    const moving = (): boolean => lanes.some((lane) => lane.down !== null || lane.up !== null);
    const wake = (): void => {
      if (request !== 0 || still.matches || !moving()) return;
      last = performance.now();
      request = requestAnimationFrame(frame);
    };
    const clear = (): void => context.clearRect(0, 0, canvas.width, canvas.height);
    const frame = (now: number): void => {
      request = 0;
      if (still.matches || !moving()) {
        clear();
        return;
      }
      const { transform, width, height } = flow.getState();
      const passed = now - last;
      const shifted = transform[0] !== seen[0] || transform[1] !== seen[1] || transform[2] !== seen[2];
      // While the map is panned every frame is drawn, or the dots would leave their cables.
      if (passed >= frameMs || shifted) {
        last = now;
        seen = transform;
        draw(transform, width, height, Math.min(passed, 200) / 1000);
      }
      request = requestAnimationFrame(frame);
    };
    let seen: readonly [number, number, number] = [0, 0, 0];
    const draw = (
      transform: readonly [number, number, number],
      width: number,
      height: number,
      seconds: number,
    ): void => {
      const ratio = Math.min(2, devicePixelRatio);
      if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
        canvas.width = Math.round(width * ratio);
        canvas.height = Math.round(height * ratio);
      } else clear();
      const [x, y, zoom] = transform;
      const radius = Math.max(2, 3.2 * zoom) * ratio;
      let wanted = 0;
      for (const lane of lanes) {
        if (lane.down) wanted += lane.track.length / lane.down.spacing;
        if (lane.up) wanted += lane.track.length / lane.up.spacing;
      }
      // From afar the dots keep their distance on the screen.
      const thin = Math.max(1, 1 / zoom, wanted / mostDots);
      for (const layer of ['l2', 'l3'] as const) {
        context.fillStyle = colours[layer];
        context.beginPath();
        for (const lane of lanes) {
          if (lane.layer !== layer) continue;
          const { points, length } = lane.track;
          const dot = (distance: number): void => {
            const at =
              Math.min(points.length / 2 - 1, Math.round((distance / length) * (points.length / 2 - 1))) * 2;
            const px = ((points[at] ?? 0) * zoom + x) * ratio;
            const py = ((points[at + 1] ?? 0) * zoom + y) * ratio;
            if (px < -radius || py < -radius || px > canvas.width + radius || py > canvas.height + radius)
              return;
            context.moveTo(px + radius, py);
            context.arc(px, py, radius, 0, 6.2832);
          };
          if (lane.down) {
            lane.downAt = (lane.downAt + lane.down.speed * seconds) % (lane.down.spacing * thin);
            for (let at = lane.downAt; at < length; at += lane.down.spacing * thin) dot(at);
          }
          if (lane.up) {
            lane.upAt = (lane.upAt + lane.up.speed * seconds) % (lane.up.spacing * thin);
            for (let at = lane.upAt; at < length; at += lane.up.spacing * thin) dot(length - at);
          }
        }
        context.fill();
      }
    };

    const stops = cables.flatMap((cable) => {
      const route = routes.get(cable.key);
      if (!route || cable.rate === null || !overlaps(grown(route.bounds), cull)) return [];
      const lane: Lane = {
        track: trackFor(route),
        layer: cable.layer,
        down: null,
        up: null,
        downAt: 0,
        upAt: 0,
      };
      lanes.push(lane);
      return [
        gauges.rates.listen(cable.rate, ({ down, up }) => {
          lane.down = flowOf(down);
          lane.up = flowOf(up);
          if (request === 0) wake();
        }),
      ];
    });
    const recolour = (): void => {
      colours = { l2: token('--ok'), l3: token('--l3') };
    };
    stops.push(onTheme(recolour));
    const resume = (): void => (still.matches ? clear() : wake());
    still.addEventListener('change', resume);
    return () => {
      still.removeEventListener('change', resume);
      cancelAnimationFrame(request);
      clear();
      for (const stop of stops) stop();
    };
  }, [cables, routes, cull, flow]);
  return <canvas ref={ref} className="map-canvas map-traffic" aria-hidden="true" />;
}

const grown = (box: Box): Box => ({
  x: box.x - 4,
  y: box.y - 4,
  width: box.width + 8,
  height: box.height + 8,
});
