// SPDX-License-Identifier: Apache-2.0
import type { Box } from './layout.ts';

/** How much of a node is drawn: everything; a big name; or all of the map on one canvas. */
export type Level = 'card' | 'chip' | 'far';

/** Where the map is looked at, as React Flow has it: screen = map × zoom + (x, y). */
export interface View {
  readonly x: number;
  readonly y: number;
  readonly zoom: number;
  /** Of the window that looks, CSS pixels. */
  readonly width: number;
  readonly height: number;
}

/** Zoom at which a level begins, and how far beyond it one must go for the level to change back. */
const borders = { card: 0.7, chip: 0.35, slack: 0.02 };

/** Most nodes that are put into the DOM; with more the map is drawn on the canvas, whatever the zoom. */
const most = { nodes: 150, slack: 15 };

/** The level for a zoom and the number of nodes in view, with hysteresis about the borders. Pure. */
export function nextLevel(now: Level, zoom: number, nodesInView: number): Level {
  const at = (border: number, above: boolean): boolean =>
    zoom >= border + (above ? -borders.slack : borders.slack);
  const room = most.nodes + (now === 'far' ? -most.slack : most.slack);
  if (nodesInView > room || !at(borders.chip, now !== 'far')) return 'far';
  return at(borders.card, now === 'card') ? 'card' : 'chip';
}

/** The part of the map that a view shows. */
export function visibleBox(view: View): Box {
  return {
    x: -view.x / view.zoom,
    y: -view.y / view.zoom,
    width: view.width / view.zoom,
    height: view.height / view.zoom,
  };
}

/** The part of the map that is kept in the DOM. */
export interface Cull {
  readonly box: Box;
  /** At which it was chosen. */
  readonly zoom: number;
}

/**
 * Screen pixels around the view: what the DOM holds, and what it must hold at least before the view moves on. What
 * comes in costs a frame much the same however little it is, so the view moves far from one time to the next.
 */
const cullMargin = { most: 192, least: 32 };

const contains = (outer: Box, inner: Box): boolean =>
  inner.x >= outer.x &&
  inner.y >= outer.y &&
  inner.x + inner.width <= outer.x + outer.width &&
  inner.y + inner.height <= outer.y + outer.height;

const grown = ({ x, y, width, height }: Box, by: number): Box => ({
  x: x - by,
  y: y - by,
  width: width + 2 * by,
  height: height + 2 * by,
});

/**
 * The part of the map to keep in the DOM. It stays the same object until the view comes near its edge (or has become
 * much smaller than it), so a pan by some pixels changes nothing in React. Pure.
 */
export function nextCull(now: Cull | null, view: View): Cull {
  const { zoom } = view;
  const seen = visibleBox(view);
  const box = grown(seen, cullMargin.most / zoom);
  if (
    now &&
    contains(now.box, grown(seen, cullMargin.least / zoom)) &&
    now.box.width <= box.width + seen.width / 2
  )
    return now;
  return { box, zoom };
}

/** Room that a fit leaves free at the edges, screen pixels: the buttons are at the bottom, a notice at the top. */
export interface Padding {
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
  readonly left: number;
}

/** Zoom limits of the map. */
export const zoomLimits = { min: 0.03, max: 2 } as const;

/** The view that shows all of `bounds`, never larger than life. Pure. */
export function fitView(
  bounds: Box,
  width: number,
  height: number,
  padding: Padding,
): { x: number; y: number; zoom: number } {
  const room = { width: width - padding.left - padding.right, height: height - padding.top - padding.bottom };
  const zoom = Math.max(
    zoomLimits.min,
    Math.min(1, room.width / Math.max(1, bounds.width), room.height / Math.max(1, bounds.height)),
  );
  return {
    zoom,
    x: padding.left + (room.width - bounds.width * zoom) / 2 - bounds.x * zoom,
    y: padding.top + (room.height - bounds.height * zoom) / 2 - bounds.y * zoom,
  };
}

/** How far to shift a view so that `box` is in sight, screen pixels; zero when it is. Pure. */
export function shiftToShow(view: View, box: Box, margin: number): { dx: number; dy: number } {
  const left = box.x * view.zoom + view.x;
  const top = box.y * view.zoom + view.y;
  return {
    dx: shift(left, left + box.width * view.zoom, margin, view.width - margin),
    dy: shift(top, top + box.height * view.zoom, margin, view.height - margin),
  };
}

function shift(from: number, to: number, low: number, high: number): number {
  if (from < low) return low - from;
  return to > high ? Math.max(low - from, high - to) : 0;
}
