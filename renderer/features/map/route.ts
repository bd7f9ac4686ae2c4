// SPDX-License-Identifier: Apache-2.0
import type { Box, Layout, Point } from './layout.ts';
import type { Cable, CableEnd, GuestNode, Topology } from './map-model.ts';

/** A cable's way: a start and cubic Bézier segments, each six numbers (two control points and the end). */
export interface Route {
  readonly start: Point;
  readonly segments: readonly (readonly [number, number, number, number, number, number])[];
  /** The same as an SVG path; also what tells whether a route has changed. */
  readonly path: string;
  readonly bounds: Box;
}

type Segment = Route['segments'][number];

const round = (value: number): number => Math.round(value * 10) / 10;

function makeRoute(start: Point, segments: readonly Segment[]): Route {
  let [left, top, right, bottom] = [start.x, start.y, start.x, start.y];
  let path = `M${round(start.x)} ${round(start.y)}`;
  for (const segment of segments) {
    path += `C${segment.map(round).join(' ')}`;
    // A Bézier curve stays within the hull of its control points.
    for (let at = 0; at < 6; at += 2) {
      const x = segment[at] ?? 0;
      const y = segment[at + 1] ?? 0;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
  }
  return { start, segments, path, bounds: { x: left, y: top, width: right - left, height: bottom - top } };
}

/** From one point to another, leaving and arriving level. */
function curve(from: Point, to: Point): Segment {
  // Going back to the left it must swing out, or it would run under its own ends.
  const reach = to.x >= from.x + 24 ? (to.x - from.x) * 0.45 : 60 + Math.min(160, (from.x - to.x) * 0.25);
  return [from.x + reach, from.y, to.x - reach, to.y, to.x, to.y];
}

function line(from: Point, to: Point): Segment {
  const [dx, dy] = [(to.x - from.x) / 3, (to.y - from.y) / 3];
  return [from.x + dx, from.y + dy, to.x - dx, to.y - dy, to.x, to.y];
}

/** A polyline with rounded corners. */
function rounded(points: readonly Point[], radius: number): Route {
  const segments: Segment[] = [];
  const first = points[0] ?? { x: 0, y: 0 };
  let at = first;
  for (let index = 1; index < points.length; index++) {
    const corner = points[index] ?? at;
    const next = points[index + 1];
    if (!next) {
      segments.push(line(at, corner));
      break;
    }
    const into = toward(corner, at, radius);
    const out = toward(corner, next, radius);
    segments.push(line(at, into), [corner.x, corner.y, corner.x, corner.y, out.x, out.y]);
    at = out;
  }
  return makeRoute(first, segments);
}

function toward(from: Point, to: Point, most: number): Point {
  const length = Math.hypot(to.x - from.x, to.y - from.y);
  const share = length === 0 ? 0 : Math.min(most, length / 2) / length;
  return { x: from.x + (to.x - from.x) * share, y: from.y + (to.y - from.y) * share };
}

/** Where a NIC's cable meets its guest: the left edge, NICs one below the other about the middle. */
export function nicPoint(box: Box, nic: number, nics: number): Point {
  const step = Math.min(12, (box.height - 20) / Math.max(1, nics));
  return { x: box.x, y: box.y + box.height / 2 + (nic - (nics - 1) / 2) * step };
}

function endPoint(
  layout: Layout,
  guests: ReadonlyMap<string, GuestNode>,
  at: CableEnd,
  side: 'left' | 'right',
): Point | null {
  const box = layout.nodes.get(at.node);
  if (!box) return null;
  if (at.port !== null) {
    const port = layout.ports.get(at.port);
    return port ? { x: port.x + port.width, y: port.y + port.height / 2 } : null;
  }
  if (at.nic !== null) return nicPoint(box, at.nic, guests.get(at.node)?.nics.length ?? 1);
  return { x: side === 'left' ? box.x : box.x + box.width, y: box.y + box.height / 2 };
}

/** The way of every cable that has both ends placed, by the cable's key. Pure. */
export function routeCables(topology: Topology, layout: Layout): ReadonlyMap<string, Route> {
  const guests = new Map(topology.guests.map((guest) => [guest.key, guest]));
  const routes = new Map<string, Route>();
  for (const cable of topology.cables) {
    const from = endPoint(layout, guests, cable.from, 'right');
    const to = endPoint(layout, guests, cable.to, 'left');
    if (from && to) routes.set(cable.key, routeOne(cable, layout, from, to));
  }
  return routes;
}

function routeOne(cable: Cable, layout: Layout, from: Point, to: Point): Route {
  const lane = cable.to.nic === null ? undefined : layout.lanes.get(cable.to.node);
  if (lane && from.x < lane.fromX) {
    const y = lane.y + (cable.to.nic ?? 0) * 2;
    const enter = { x: lane.fromX, y };
    const leave = { x: lane.toX, y };
    return makeRoute(from, [curve(from, enter), line(enter, leave), curve(leave, to)]);
  }
  // The uplink's cable to a later strip goes above everything instead of through the guests before it.
  if (cable.layer === 'l3' && cable.to.port === null && layout.frames.length > 1) {
    const frame = layout.frames.find((box) => to.x >= box.x && to.x <= box.x + box.width);
    if (frame && frame !== layout.frames[0] && from.x < frame.x) {
      const trunkX = from.x + 19;
      const downX = frame.x - 30;
      return rounded(
        [
          from,
          { x: trunkX, y: from.y },
          { x: trunkX, y: layout.trunkY },
          { x: downX, y: layout.trunkY },
          { x: downX, y: to.y },
          to,
        ],
        18,
      );
    }
  }
  return makeRoute(from, [Math.abs(from.y - to.y) < 0.5 && to.x > from.x ? line(from, to) : curve(from, to)]);
}

/** Points along a route at equal distances, as x, y, x, y, …; `length` is in map pixels. */
export interface Track {
  readonly points: Float32Array;
  readonly length: number;
}

/** Samples a route so that a dot's place at a given distance is a look-up. About one point every 8 px. */
export function trackOf(route: Route): Track {
  const fine: number[] = [route.start.x, route.start.y];
  let { x, y } = route.start;
  for (const [ax, ay, bx, by, ex, ey] of route.segments) {
    const steps = 16;
    for (let step = 1; step <= steps; step++) {
      const t = step / steps;
      const u = 1 - t;
      fine.push(
        u * u * u * x + 3 * u * u * t * ax + 3 * u * t * t * bx + t * t * t * ex,
        u * u * u * y + 3 * u * u * t * ay + 3 * u * t * t * by + t * t * t * ey,
      );
    }
    [x, y] = [ex, ey];
  }
  const at = (index: number): number => fine[index] ?? 0;
  const lengths: number[] = [0];
  for (let index = 2; index < fine.length; index += 2) {
    const before = lengths.at(-1) ?? 0;
    lengths.push(before + Math.hypot(at(index) - at(index - 2), at(index + 1) - at(index - 1)));
  }
  const length = lengths.at(-1) ?? 0;
  const count = Math.max(2, Math.ceil(length / 8));
  const points = new Float32Array(count * 2);
  let before = 0;
  for (let index = 0; index < count; index++) {
    const distance = (length * index) / (count - 1);
    while (before < lengths.length - 2 && (lengths[before + 1] ?? 0) < distance) before++;
    const [from, to] = [lengths[before] ?? 0, lengths[before + 1] ?? 0];
    const share = to > from ? Math.min(1, (distance - from) / (to - from)) : 0;
    const k = before * 2;
    points[index * 2] = at(k) + (at(k + 2) - at(k)) * share;
    points[index * 2 + 1] = at(k + 1) + (at(k + 3) - at(k + 1)) * share;
  }
  return { points, length };
}
