// SPDX-License-Identifier: Apache-2.0
import { sameSubject, type Selection } from '../../store/subject.ts';
import { around, type Box, type Point } from './layout.ts';
import { trackOf, type Route, type Track } from './route.ts';
import type { Cable } from './map-model.ts';

/** Whether a cable belongs to what is selected: the cable itself, or one that hangs on the selected guest. */
export function cableSelected(cable: Cable, selection: Selection | null): boolean {
  if (!selection) return false;
  if (sameSubject(cable.selection, selection)) return true;
  return selection.kind === 'guest' && cable.to.node === `guest:${selection.id}`;
}

/** Cables that look the same, of one bridge and side by side, drawn as one path. */
export interface CableGroup {
  readonly key: string;
  /** Layer, state and whether it is selected, as class names. */
  readonly look: string;
  readonly path: string;
  readonly bounds: Box;
}

/** Few enough that a group out of view is worth leaving out, many enough to save most of the elements. */
const groupSize = 12;

/**
 * Draws many cables by few elements: a lab of 800 cables has some 70 groups, and while the map is panned a whole
 * bridge's cables come into view at the price of a few. Pure.
 */
export function groupCables(
  cables: readonly Cable[],
  routes: ReadonlyMap<string, Route>,
  selection: Selection | null,
): readonly CableGroup[] {
  const counts = new Map<string, number>();
  const groups = new Map<string, { look: string; paths: string[]; boxes: Box[] }>();
  for (const cable of cables) {
    const route = routes.get(cable.key);
    if (!route) continue;
    const selected = cableSelected(cable, selection);
    const look = `${cable.layer} ${cable.state}${selected ? ' selected' : ''}`;
    const kin = `${cable.from.node}|${look}`;
    const count = counts.get(kin) ?? 0;
    counts.set(kin, count + 1);
    const key = `${kin}|${Math.floor(count / groupSize)}`;
    const group = groups.get(key) ?? { look, paths: [], boxes: [] };
    group.paths.push(route.path);
    group.boxes.push(route.bounds);
    groups.set(key, group);
  }
  return [...groups].map(([key, { look, paths, boxes }]) => ({
    key,
    look,
    path: paths.join(''),
    bounds: around(boxes),
  }));
}

const tracks = new WeakMap<Route, Track>();

/** The sampled route, made once: routes seldom change and sampling is dear. */
export function trackFor(route: Route): Track {
  let track = tracks.get(route);
  if (!track) tracks.set(route, (track = trackOf(route)));
  return track;
}

/** The cable nearest to a point of the map, if it is within `reach` map pixels. */
export function cableAt(
  cables: readonly Cable[],
  routes: ReadonlyMap<string, Route>,
  { x, y }: Point,
  reach: number,
): Cable | null {
  let best: Cable | null = null;
  let least = reach * reach;
  for (const cable of cables) {
    const route = routes.get(cable.key);
    if (!route) continue;
    const { bounds } = route;
    if (x < bounds.x - reach || x > bounds.x + bounds.width + reach) continue;
    if (y < bounds.y - reach || y > bounds.y + bounds.height + reach) continue;
    const { points } = trackFor(route);
    for (let at = 0; at + 3 < points.length; at += 2) {
      const distance = toSegment(
        x,
        y,
        points[at] ?? 0,
        points[at + 1] ?? 0,
        points[at + 2] ?? 0,
        points[at + 3] ?? 0,
      );
      if (distance < least) [best, least] = [cable, distance];
    }
  }
  return best;
}

/** Squared distance of a point to a line segment. */
function toSegment(x: number, y: number, ax: number, ay: number, bx: number, by: number): number {
  const [dx, dy] = [bx - ax, by - ay];
  const length = dx * dx + dy * dy;
  const share = length === 0 ? 0 : Math.max(0, Math.min(1, ((x - ax) * dx + (y - ay) * dy) / length));
  const [px, py] = [ax + dx * share - x, ay + dy * share - y];
  return px * px + py * py;
}
