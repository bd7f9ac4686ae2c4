// SPDX-License-Identifier: Apache-2.0
import { gauges } from '../../store/gauges.ts';
import { onTheme, token } from '../../store/theme.ts';
import { trackFor } from './cables.ts';
import { overlaps } from './layout.ts';
import type { Route } from './route.ts';
import type { Cable } from './map-model.ts';
import { flowOf, type Flow } from './traffic.ts';
import type { Cull } from './view.ts';

/** Where the map looks: x, y, zoom, and the size of its window in CSS pixels. */
interface Look {
  readonly transform: readonly [number, number, number];
  readonly width: number;
  readonly height: number;
}

/** One cable in view: where it runs and what moves on it. */
interface Lane {
  readonly route: Route;
  readonly rate: string;
  readonly layer: Cable['layer'];
  readonly stop: () => void;
  down: Flow | null;
  up: Flow | null;
  /** How far the first dot of each direction has come, map pixels. */
  downAt: number;
  upAt: number;
}

/** Most dots of a frame. Denser cables are thinned before the frame takes too long. */
const mostDots = 600;
/** Time between frames, ms: the dots move slowly enough for 30 a second, and that halves what they cost. */
const frameMs = 30;

/**
 * Paints the traffic on one canvas over the map. It follows the gauges of the cables in view itself, beside React;
 * while nothing moves, or motion is not wanted, no frame is asked for.
 */
export class TrafficPainter {
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D | null;
  readonly #look: () => Look;
  readonly #lanes = new Map<string, Lane>();
  readonly #still = matchMedia('(prefers-reduced-motion: reduce)');
  readonly #stopTheme: () => void;
  #colours = readColours();
  #request = 0;
  #last = 0;
  #seen: Look['transform'] = [0, 0, 0];

  constructor(canvas: HTMLCanvasElement, look: () => Look) {
    this.#canvas = canvas;
    this.#context = canvas.getContext('2d');
    this.#look = look;
    this.#stopTheme = onTheme(() => {
      this.#colours = readColours();
    });
    this.#still.addEventListener('change', this.#wake);
  }

  /** Sets the cables and the part of the map in view. Dots of cables that stay go on from where they are. */
  follow(cables: readonly Cable[], routes: ReadonlyMap<string, Route>, cull: Cull): void {
    const kept = new Set<string>();
    for (const cable of cables) {
      const route = routes.get(cable.key);
      if (!route || cable.rate === null || !overlaps(route.bounds, cull.box)) continue;
      kept.add(cable.key);
      const lane = this.#lanes.get(cable.key);
      if (lane?.route === route && lane.rate === cable.rate) continue;
      lane?.stop();
      this.#add(cable, cable.rate, route);
    }
    for (const [key, lane] of this.#lanes) {
      if (kept.has(key)) continue;
      lane.stop();
      this.#lanes.delete(key);
    }
    this.#wake();
  }

  close(): void {
    cancelAnimationFrame(this.#request);
    this.#still.removeEventListener('change', this.#wake);
    this.#stopTheme();
    for (const lane of this.#lanes.values()) lane.stop();
    this.#lanes.clear();
  }

  #add(cable: Cable, rate: string, route: Route): void {
    let lane: Lane | undefined;
    let first: { down: number; up: number } | undefined;
    const hear = (value: { down: number; up: number }): void => {
      // A known value is told before `listen` returns.
      if (!lane) first = value;
      else {
        lane.down = flowOf(value.down);
        lane.up = flowOf(value.up);
        this.#wake();
      }
    };
    const stop = gauges.rates.listen(rate, hear);
    const down = first ? flowOf(first.down) : null;
    const up = first ? flowOf(first.up) : null;
    lane = { route, rate, layer: cable.layer, stop, down, up, downAt: 0, upAt: 0 };
    this.#lanes.set(cable.key, lane);
  }

  #moving(): boolean {
    if (this.#still.matches) return false;
    for (const lane of this.#lanes.values()) if (lane.down !== null || lane.up !== null) return true;
    return false;
  }

  readonly #wake = (): void => {
    if (this.#request !== 0) return;
    this.#last = performance.now();
    this.#request = requestAnimationFrame(this.#frame);
  };

  readonly #frame = (now: number): void => {
    this.#request = 0;
    if (!this.#moving()) {
      this.#context?.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
      return;
    }
    const look = this.#look();
    const passed = now - this.#last;
    // While the map is panned every frame is drawn, or the dots would leave their cables.
    if (passed >= frameMs || look.transform !== this.#seen) {
      this.#last = now;
      this.#seen = look.transform;
      this.#draw(look, Math.max(0, Math.min(passed, 200)) / 1000);
    }
    this.#request = requestAnimationFrame(this.#frame);
  };

  #draw({ transform, width, height }: Look, seconds: number): void {
    const canvas = this.#canvas;
    const context = this.#context;
    if (!context) return;
    const ratio = Math.min(2, devicePixelRatio);
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== wide || canvas.height !== high) {
      canvas.width = wide;
      canvas.height = high;
    } else context.clearRect(0, 0, wide, high);
    const [x, y, zoom] = transform;
    const radius = Math.max(2, 3.2 * zoom) * ratio;
    // From afar the dots keep their distance on the screen.
    const thin = Math.max(1, 1 / zoom, this.#dotsWanted() / mostDots);
    for (const layer of ['l2', 'l3'] as const) {
      context.fillStyle = this.#colours[layer];
      context.beginPath();
      for (const lane of this.#lanes.values()) {
        if (lane.layer !== layer || (lane.down === null && lane.up === null)) continue;
        const track = trackFor(lane.route);
        const dot = (distance: number): void => {
          const last = track.points.length / 2 - 1;
          const at = Math.min(last, Math.round((distance / track.length) * last)) * 2;
          const px = ((track.points[at] ?? 0) * zoom + x) * ratio;
          const py = ((track.points[at + 1] ?? 0) * zoom + y) * ratio;
          if (px < -radius || py < -radius || px > wide + radius || py > high + radius) return;
          context.moveTo(px + radius, py);
          context.arc(px, py, radius, 0, 6.2832);
        };
        lane.downAt = run(lane.down, lane.downAt, seconds, thin, track.length, dot);
        lane.upAt = run(lane.up, lane.upAt, seconds, thin, track.length, (distance) =>
          dot(track.length - distance),
        );
      }
      context.fill();
    }
  }

  #dotsWanted(): number {
    let wanted = 0;
    for (const { down, up, route } of this.#lanes.values()) {
      const length = route.bounds.width + route.bounds.height;
      wanted += (down ? length / down.spacing : 0) + (up ? length / up.spacing : 0);
    }
    return wanted;
  }
}

/** Moves one direction on, puts its dots, and returns how far the first one has come. */
function run(
  flow: Flow | null,
  at: number,
  seconds: number,
  thin: number,
  length: number,
  dot: (distance: number) => void,
): number {
  if (!flow) return at;
  const spacing = flow.spacing * thin;
  const first = (at + flow.speed * seconds) % spacing;
  for (let distance = first; distance < length; distance += spacing) dot(distance);
  return first;
}

const readColours = (): { l2: string; l3: string } => ({ l2: token('--ok'), l3: token('--l3') });
