// SPDX-License-Identifier: Apache-2.0
import type { Box, Layout } from './layout.ts';
import type { Topology } from './map-model.ts';

export type Direction = 'left' | 'right' | 'up' | 'down';

/** Keys of arrow keys, as KeyboardEvent.key has them. */
export const arrowKeys: Readonly<Record<string, Direction>> = {
  ArrowLeft: 'left',
  ArrowRight: 'right',
  ArrowUp: 'up',
  ArrowDown: 'down',
};

/**
 * Where an arrow key leads from a node or port: left and right follow the cables
 * (uplink – NAT – bridge – port – guest), up and down go to the next of the same kind. Null where there is none.
 */
export function neighbour(
  topology: Topology,
  layout: Layout,
  key: string,
  direction: Direction,
): string | null {
  const boxes = boxesLike(topology, layout, key);
  const here = boxes.get(key);
  if (!here) return null;
  if (direction === 'up' || direction === 'down') return nearest(boxes, key, here, direction);
  const along = follow(topology, layout, key, direction);
  if (along.length > 0) {
    const ends = new Map(along.flatMap((end) => withBox(layout, end)));
    return nearest(ends, key, here, 'any');
  }
  // Guests stand in columns: to the right of one is the next, until there is none.
  return key.startsWith('guest:') && direction === 'right' ? nearest(boxes, key, here, 'right') : null;
}

function withBox(layout: Layout, key: string): [string, Box][] {
  const box = layout.nodes.get(key) ?? layout.ports.get(key);
  return box ? [[key, box]] : [];
}

/** Every node (or port) of the kind of `key`. */
function boxesLike(topology: Topology, layout: Layout, key: string): Map<string, Box> {
  const kind = key.slice(0, key.indexOf(':'));
  const keys =
    kind === 'guest'
      ? topology.guests.map((guest) => guest.key)
      : kind === 'nat'
        ? topology.nats.map((nat) => nat.key)
        : kind === 'network'
          ? topology.bridges.map((bridge) => bridge.key)
          : kind === 'link'
            ? topology.bridges
                .flatMap((bridge) => bridge.ports.map((port) => port.key))
                .filter((port) => port.startsWith('link:'))
            : [topology.uplink.key];
  return new Map(keys.flatMap((each) => withBox(layout, each)));
}

/** The other ends of what hangs on `key` on that side. A port that is only wanted is stepped over. */
function follow(topology: Topology, layout: Layout, key: string, side: 'left' | 'right'): string[] {
  const bridge = topology.bridges.find(
    (each) => each.key === key || each.ports.some((port) => port.key === key),
  );
  if (bridge && bridge.key !== key && side === 'left') return [bridge.key];
  if (bridge?.key === key && side === 'right') {
    const real = bridge.ports.filter((port) => port.key.startsWith('link:'));
    if (real.length > 0) return real.map((port) => port.key);
  }
  // An isolated network has no cable to the uplink, but the uplink is still what stands beside its NAT.
  if (key === topology.uplink.key) return side === 'right' ? topology.nats.map((nat) => nat.key) : [];
  if (side === 'left' && topology.nats.some((nat) => nat.key === key)) return [topology.uplink.key];
  return topology.cables.flatMap((cable) => {
    const [from, to] = side === 'right' ? [cable.from, cable.to] : [cable.to, cable.from];
    if (from.node !== key && from.port !== key) return [];
    if (from.port?.startsWith('link:') && from.port !== key) return [];
    return [to.port?.startsWith('link:') && layout.ports.has(to.port) ? to.port : to.node];
  });
}

function nearest(
  boxes: ReadonlyMap<string, Box>,
  self: string,
  from: Box,
  direction: Direction | 'any',
): string | null {
  let best: string | null = null;
  let least = Infinity;
  const [x, y] = [from.x + from.width / 2, from.y + from.height / 2];
  for (const [key, box] of boxes) {
    if (key === self) continue;
    const dx = box.x + box.width / 2 - x;
    const dy = box.y + box.height / 2 - y;
    if (direction === 'up' && dy >= -1) continue;
    if (direction === 'down' && dy <= 1) continue;
    if (direction === 'right' && dx <= 1) continue;
    if (direction === 'left' && dx >= -1) continue;
    // Straight on is nearer than aside.
    const across =
      direction === 'up' || direction === 'down'
        ? Math.abs(dx) * 3 + Math.abs(dy)
        : Math.abs(dx) + Math.abs(dy) * 3;
    if (across < least) [best, least] = [key, across];
  }
  return best;
}
