// SPDX-License-Identifier: Apache-2.0
import type { BridgeNode, GuestNode, Topology } from './map-model.ts';

/** A rectangle in the map's own coordinates, CSS pixels at zoom 1. */
export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** A corner of a node that somebody dragged there. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** How wide the lab is laid out. Kept from one layout to the next, so that a new guest moves nobody sideways. */
export interface Shape {
  /** Columns of guests beside a bridge. */
  readonly columns: number;
  /** Networks stand in this many columns of their own; 1 for all but very large labs. */
  readonly strips: number;
}

/** The gutter under a row of guests that the cable of a guest in the second column or further runs in. */
export interface Lane {
  readonly fromX: number;
  readonly toX: number;
  readonly y: number;
}

/** Where everything is. Keys are those of the topology's nodes and ports. */
export interface Layout {
  readonly shape: Shape;
  readonly nodes: ReadonlyMap<string, Box>;
  readonly ports: ReadonlyMap<string, Box>;
  readonly lanes: ReadonlyMap<string, Lane>;
  /** The dashed boundaries, one a strip. */
  readonly frames: readonly Box[];
  /** Above this nothing is drawn: cables to later strips run here. */
  readonly trunkY: number;
  readonly bounds: Box;
}

/** Sizes of the nodes, fixed so that nothing must be measured before it is placed. */
export const nodeSize = {
  uplink: { width: 148, height: 116 },
  nat: { width: 170, height: 120 },
  bridge: { width: 130, minHeight: 112 },
  guest: { width: 250, height: 112 },
  port: { height: 24 },
} as const;

const gap = {
  row: 28,
  column: 44,
  block: 36,
  natToBridge: 26,
  uplinkToFrame: 30,
  portToGuest: 132,
  strip: 110,
};
const framePad = { side: 16, top: 46, bottom: 18 };
const portPitch = { min: 28, max: 68 };

/** The map area that a layout aims to fill: the reference window's, 1440×900. */
const aim = { width: 1000, height: 500 };

const rowPitch = nodeSize.guest.height + gap.row;
const columnPitch = nodeSize.guest.width + gap.column;

/** Width of the ports of a lab: room for the longest name, 11 px monospace, within limits. */
function portWidth(topology: Topology): number {
  const longest = Math.max(
    4,
    ...topology.bridges.flatMap((bridge) => bridge.ports.map((port) => port.name.length)),
  );
  return Math.min(118, Math.max(70, 14 + longest * 6.8));
}

interface Block {
  readonly index: number;
  readonly bridge: BridgeNode | null;
  readonly guests: readonly GuestNode[];
}

/** Guests by the network of their first NIC; those without one in a last block of their own. */
function blocksOf(topology: Topology): Block[] {
  const byHome = new Map<string, GuestNode[]>();
  for (const guest of topology.guests) {
    const home = guest.home ?? '';
    byHome.set(home, [...(byHome.get(home) ?? []), guest]);
  }
  const blocks: Block[] = topology.bridges.map((bridge, index) => ({
    index,
    bridge,
    guests: byHome.get(bridge.key) ?? [],
  }));
  const homeless = byHome.get('');
  if (homeless) blocks.push({ index: -1, bridge: null, guests: homeless });
  return blocks;
}

const guestsHeight = (count: number, columns: number): number =>
  count === 0 ? 0 : Math.ceil(count / columns) * rowPitch - gap.row;

function portStep(ports: number, beside: number): number {
  return ports === 0 ? portPitch.max : Math.min(portPitch.max, Math.max(portPitch.min, beside / ports));
}

function bridgeHeight(ports: number, beside: number): number {
  return Math.max(nodeSize.bridge.minHeight, ports * portStep(ports, beside) + 8);
}

function blockHeight(block: Block, columns: number): number {
  const beside = guestsHeight(block.guests.length, columns);
  return Math.max(
    beside,
    block.bridge ? Math.max(bridgeHeight(block.bridge.ports.length, beside), nodeSize.nat.height) : 0,
  );
}

/** Splits the blocks, in order, into strips of about the same height. */
function intoStrips(blocks: readonly Block[], shape: Shape): Block[][] {
  const heights = blocks.map((block) => blockHeight(block, shape.columns) + gap.block);
  const share = heights.reduce((sum, height) => sum + height, 0) / shape.strips;
  const strips: Block[][] = [];
  let filled = 0;
  blocks.forEach((block, at) => {
    const height = heights[at] ?? 0;
    const strip = Math.min(shape.strips - 1, Math.floor((filled + height / 2) / share));
    (strips[strip] ??= []).push(block);
    filled += height;
  });
  return strips.filter((strip) => strip !== undefined);
}

/** Places every node for one shape. */
function placeAll(topology: Topology, shape: Shape): Layout {
  const nodes = new Map<string, Box>();
  const lanes = new Map<string, Lane>();
  const ports = portWidth(topology);
  const boundaryWidth =
    framePad.side + nodeSize.nat.width + gap.natToBridge + nodeSize.bridge.width + ports + framePad.side;
  const natByNetwork = new Map(topology.nats.map((nat, at) => [topology.bridges[at]?.key, nat.key]));
  let stripX = nodeSize.uplink.width + gap.uplinkToFrame;
  let firstStripCentres: number[] = [];
  intoStrips(blocksOf(topology), shape).forEach((strip, stripAt) => {
    const natX = stripX + framePad.side;
    const bridgeX = natX + nodeSize.nat.width + gap.natToBridge;
    const guestX = bridgeX + nodeSize.bridge.width + ports + gap.portToGuest;
    let guestY = 0;
    // The first bridge may reach above its guests: then they stay where they are when one more comes.
    let bridgeY = -Infinity;
    let widest = 1;
    const centres: number[] = [];
    for (const block of strip) {
      const { bridge, guests } = block;
      const beside = guestsHeight(guests.length, shape.columns);
      const own = bridge ? bridgeHeight(bridge.ports.length, beside) : 0;
      const slot = bridge ? Math.max(own, nodeSize.nat.height) : 0;
      const besideGuests = beside > 0 ? guestY + beside / 2 : -Infinity;
      const underBridge = bridge ? bridgeY + slot / 2 : -Infinity;
      const centre = Math.max(besideGuests, underBridge, centres.length === 0 ? guestY : -Infinity);
      if (bridge) {
        centres.push(centre);
        const nat = natByNetwork.get(bridge.key);
        if (nat !== undefined)
          nodes.set(nat, { x: natX, y: centre - nodeSize.nat.height / 2, ...nodeSize.nat });
        nodes.set(bridge.key, { x: bridgeX, y: centre - own / 2, width: nodeSize.bridge.width, height: own });
        bridgeY = centre + slot / 2 + gap.block;
      }
      const top = centre - beside / 2;
      guests.forEach((guest, at) => {
        const column = at % shape.columns;
        widest = Math.max(widest, column + 1);
        const box = {
          x: guestX + column * columnPitch,
          y: top + Math.floor(at / shape.columns) * rowPitch,
          ...nodeSize.guest,
        };
        nodes.set(guest.key, box);
        // Under its row: the ports of a row are in the order of its columns, so no cable crosses another.
        if (column > 0) {
          lanes.set(guest.key, {
            fromX: guestX - 14,
            toX: box.x - gap.column + 6,
            y: box.y + box.height + (gap.row * column) / (shape.columns + 0.5),
          });
        }
      });
      if (beside > 0) guestY = top + beside + gap.block;
    }
    if (stripAt === 0) firstStripCentres = centres;
    stripX += boundaryWidth + gap.portToGuest - framePad.side + widest * columnPitch - gap.column + gap.strip;
  });
  const uplinkCentre =
    ((firstStripCentres[0] ?? 0) +
      ((firstStripCentres.length > 2 ? firstStripCentres.at(-1) : firstStripCentres[0]) ?? 0)) /
    2;
  nodes.set(topology.uplink.key, { x: 0, y: uplinkCentre - nodeSize.uplink.height / 2, ...nodeSize.uplink });
  return finish(topology, shape, nodes, lanes, ports);
}

/** Adds what follows from the nodes' places: ports, boundaries, bounds. */
function finish(
  topology: Topology,
  shape: Shape,
  nodes: ReadonlyMap<string, Box>,
  lanes: ReadonlyMap<string, Lane>,
  portsWidth: number,
): Layout {
  const ports = new Map<string, Box>();
  const strips = new Map<number, Box[]>();
  topology.bridges.forEach((bridge, at) => {
    const box = nodes.get(bridge.key);
    const natBox = nodes.get(topology.nats[at]?.key ?? '');
    if (!box) return;
    const count = bridge.ports.length;
    const step = count === 0 ? 0 : Math.min(portPitch.max, (box.height - 8) / count);
    const middle = box.y + box.height / 2;
    bridge.ports.forEach((port, index) => {
      const y = middle + (index - (count - 1) / 2) * step - nodeSize.port.height / 2;
      ports.set(port.key, { x: box.x + box.width, y, width: portsWidth, height: nodeSize.port.height });
    });
    // Bridges that stand in one strip share a boundary; the strip is told by the tidy x.
    const key = stripOf(bridge, shape, topology);
    const parts = strips.get(key) ?? [];
    parts.push({ ...box, width: box.width + portsWidth });
    if (natBox) parts.push(natBox);
    strips.set(key, parts);
  });
  const frames = [...strips.values()].map((parts) => {
    const inner = around(parts);
    return {
      x: inner.x - framePad.side,
      y: inner.y - framePad.top,
      width: inner.width + 2 * framePad.side,
      height: inner.height + framePad.top + framePad.bottom,
    };
  });
  const inner = around([...nodes.values(), ...frames]);
  const trunk = frames.length > 1 ? 40 : 0;
  return {
    shape,
    nodes,
    ports,
    lanes,
    frames,
    trunkY: inner.y - 24,
    bounds: { ...inner, y: inner.y - trunk, height: inner.height + trunk },
  };
}

const stripIndexes = new WeakMap<Topology, { shape: Shape; of: Map<string, number> }>();

function stripOf(bridge: BridgeNode, shape: Shape, topology: Topology): number {
  let known = stripIndexes.get(topology);
  if (known?.shape !== shape) {
    const of = new Map<string, number>();
    intoStrips(blocksOf(topology), shape).forEach((strip, at) => {
      for (const block of strip) if (block.bridge) of.set(block.bridge.key, at);
    });
    known = { shape, of };
    stripIndexes.set(topology, known);
  }
  return known.of.get(bridge.key) ?? 0;
}

/** The smallest box around boxes; an empty one at the origin for none. */
export function around(boxes: readonly Box[]): Box {
  if (boxes.length === 0) return { x: 0, y: 0, width: 0, height: 0 };
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const box of boxes) {
    left = Math.min(left, box.x);
    top = Math.min(top, box.y);
    right = Math.max(right, box.x + box.width);
    bottom = Math.max(bottom, box.y + box.height);
  }
  return { x: left, y: top, width: right - left, height: bottom - top };
}

const fitZoom = (bounds: Box): number => Math.min(1, aim.width / bounds.width, aim.height / bounds.height);

/**
 * The tidy layout: uplink left, then the boundary with NAT and bridges, ports on each bridge's right edge,
 * guests in columns beside the bridge of their first NIC. `kept` is the shape of the layout before; it stays
 * unless another would show the lab a third larger, so a guest that is added moves no other sideways. Pure.
 */
export function layoutTopology(topology: Topology, kept?: Shape): Layout {
  let best: Layout | undefined;
  const most = Math.min(8, Math.max(1, ...blocksOf(topology).map((block) => block.guests.length)));
  const strips = topology.bridges.length < 5 ? 1 : Math.min(8, topology.bridges.length);
  for (let strip = 1; strip <= strips; strip++) {
    for (let columns = 1; columns <= most; columns++) {
      const layout = placeAll(topology, { columns, strips: strip });
      // More columns cost straight cables: they must earn it.
      if (!best || fitZoom(layout.bounds) > fitZoom(best.bounds) * 1.06) best = layout;
    }
  }
  best ??= placeAll(topology, { columns: 1, strips: 1 });
  if (!kept || (kept.columns === best.shape.columns && kept.strips === best.shape.strips)) return best;
  const same = placeAll(topology, kept);
  return fitZoom(best.bounds) > fitZoom(same.bounds) * 1.33 ? best : same;
}

/** The layout with nodes where somebody dragged them; their ports, lanes and boundaries follow. Pure. */
export function withMoved(topology: Topology, tidy: Layout, moved: Readonly<Record<string, Point>>): Layout {
  const entries = Object.entries(moved).filter(([key]) => tidy.nodes.has(key));
  if (entries.length === 0) return tidy;
  const nodes = new Map(tidy.nodes);
  const lanes = new Map(tidy.lanes);
  for (const [key, point] of entries) {
    const box = nodes.get(key);
    if (box) nodes.set(key, { ...box, ...point });
    lanes.delete(key);
  }
  return finish(topology, tidy.shape, nodes, lanes, portWidth(topology));
}

/** Whether two boxes share more than an edge. */
export function overlaps(a: Box, b: Box): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}
