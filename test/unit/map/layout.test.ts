// SPDX-License-Identifier: Apache-2.0
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cableAt, groupCables } from '../../../renderer/features/map/cables.ts';
import {
  layoutTopology,
  overlaps,
  withMoved,
  type Box,
  type Layout,
} from '../../../renderer/features/map/layout.ts';
import { routeCables, trackOf } from '../../../renderer/features/map/route.ts';
import { bigLab, fortyLab, hugeLab, longNamesLab, mockLab, seedLab, statesLab } from '../../fakes/labs.ts';
import { topologyOf } from './tables.ts';

const labs = fc
  .record({
    guests: fc.integer({ min: 0, max: 120 }),
    networks: fc.integer({ min: 1, max: 14 }),
    second: fc.constantFrom(0, 0.2, 1, 2.5),
  })
  .map(({ guests, networks, second }) => bigLab(guests, networks, second));

function firstOverlap(layout: Layout): [string, string] | null {
  const boxes: (readonly [string, Box])[] = [...layout.nodes, ...layout.ports];
  for (const [at, [key, box]] of boxes.entries()) {
    for (const [other, otherBox] of boxes.slice(at + 1)) if (overlaps(box, otherBox)) return [key, other];
  }
  return null;
}

describe('layoutTopology', () => {
  it('places every node and port, and none over another', () => {
    fc.assert(
      fc.property(labs, (rows) => {
        const topology = topologyOf(rows);
        const layout = layoutTopology(topology);
        expect(layout.nodes.size).toBe(1 + 2 * topology.bridges.length + topology.guests.length);
        expect(layout.ports.size).toBe(
          topology.bridges.reduce((sum, bridge) => sum + bridge.ports.length, 0),
        );
        expect(firstOverlap(layout)).toBeNull();
      }),
      { numRuns: 40 },
    );
  });

  it('keeps every box within its bounds, and guests out of the boundary', () => {
    for (const rows of [seedLab(), mockLab(), statesLab(), fortyLab(), hugeLab(), longNamesLab()]) {
      const topology = topologyOf(rows);
      const { nodes, ports, frames, bounds } = layoutTopology(topology);
      for (const box of [...nodes.values(), ...ports.values(), ...frames]) {
        expect(box.x).toBeGreaterThanOrEqual(bounds.x - 0.01);
        expect(box.y).toBeGreaterThanOrEqual(bounds.y - 0.01);
        expect(box.x + box.width).toBeLessThanOrEqual(bounds.x + bounds.width + 0.01);
        expect(box.y + box.height).toBeLessThanOrEqual(bounds.y + bounds.height + 0.01);
      }
      for (const guest of topology.guests) {
        const box = nodes.get(guest.key);
        expect(box && frames.some((frame) => overlaps(frame, box))).toBe(false);
      }
    }
  });

  it('moves nobody of the same network when a guest is added with the next tap', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60 }), (count) => {
        const before = layoutTopology(topologyOf(bigLab(count, 1, 0)));
        const topology = topologyOf(bigLab(count + 1, 1, 0));
        const after = layoutTopology(topology, before.shape);
        if (after.shape.columns !== before.shape.columns) return;
        for (const [key, box] of before.nodes) {
          if (key.startsWith('guest:')) expect(after.nodes.get(key)).toEqual(box);
        }
      }),
    );
  });

  it('changes the number of columns seldom while a lab grows', () => {
    let layout = layoutTopology(topologyOf(bigLab(1, 1, 0)));
    let changes = 0;
    for (let count = 2; count <= 40; count++) {
      const next = layoutTopology(topologyOf(bigLab(count, 1, 0)), layout.shape);
      if (next.shape.columns !== layout.shape.columns) changes++;
      layout = next;
    }
    expect(changes).toBeLessThanOrEqual(3);
  });

  it('gives the same place whatever order the rows come in', () => {
    const rows = fortyLab();
    const shuffled = { ...rows, guests: rows.guests.toReversed(), links: rows.links.toReversed() };
    expect(layoutTopology(topologyOf(shuffled)).nodes).toEqual(layoutTopology(topologyOf(rows)).nodes);
  });

  it('fits 40 guests into the reference window as chips at least', () => {
    const { bounds } = layoutTopology(topologyOf(fortyLab()));
    expect(Math.min(1000 / bounds.width, 480 / bounds.height)).toBeGreaterThan(0.35);
  });

  it('lays out 500 nodes in well under a second', () => {
    const topology = topologyOf(hugeLab());
    const began = performance.now();
    layoutTopology(topology);
    expect(performance.now() - began).toBeLessThan(1000);
  });
});

describe('withMoved', () => {
  it('takes ports along with their bridge and forgets places of nodes that are gone', () => {
    const topology = topologyOf(mockLab());
    const tidy = layoutTopology(topology);
    const layout = withMoved(topology, tidy, {
      'network:seed/br0': { x: 900, y: 700 },
      'guest:seed/gone': { x: 0, y: 0 },
    });
    expect(layout.nodes.get('network:seed/br0')).toMatchObject({ x: 900, y: 700 });
    expect(layout.nodes.has('guest:seed/gone')).toBe(false);
    expect(layout.ports.get('link:seed/tap0')?.x).toBe(
      900 + (tidy.nodes.get('network:seed/br0')?.width ?? 0),
    );
    expect(withMoved(topology, tidy, {})).toBe(tidy);
  });
});

describe('routeCables', () => {
  it('joins each port to its NIC', () => {
    fc.assert(
      fc.property(labs, (rows) => {
        const topology = topologyOf(rows);
        const layout = layoutTopology(topology);
        const routes = routeCables(topology, layout);
        expect(routes.size).toBe(topology.cables.length);
        for (const cable of topology.cables) {
          const route = routes.get(cable.key);
          const last = route?.segments.at(-1);
          const target = layout.nodes.get(cable.to.node);
          expect(last?.[4]).toBe(target?.x);
          if (cable.from.port === null) continue;
          const port = layout.ports.get(cable.from.port);
          expect(route?.start).toEqual({ x: (port?.x ?? 0) + (port?.width ?? 0), y: (port?.y ?? 0) + 12 });
        }
      }),
      { numRuns: 20 },
    );
  });

  it('never runs a cable through a guest of its own network', () => {
    const topology = topologyOf(bigLab(40, 2, 0));
    const layout = layoutTopology(topology);
    const routes = routeCables(topology, layout);
    for (const cable of topology.cables.filter((each) => each.layer === 'l2')) {
      const route = routes.get(cable.key);
      if (!route) continue;
      const { points } = trackOf(route);
      for (const guest of topology.guests) {
        const box = layout.nodes.get(guest.key);
        if (!box || guest.key === cable.to.node) continue;
        for (let at = 0; at < points.length; at += 2) {
          const point = {
            x: (points[at] ?? 0) - 0.01,
            y: (points[at + 1] ?? 0) - 0.01,
            width: 0.02,
            height: 0.02,
          };
          expect(overlaps(box, point), `${cable.key} through ${guest.key}`).toBe(false);
        }
      }
    }
  });

  it('samples a track at equal distances', () => {
    const topology = topologyOf(mockLab());
    for (const route of routeCables(topology, layoutTopology(topology)).values()) {
      const { points, length } = trackOf(route);
      const steps = points.length / 2 - 1;
      for (let at = 0; at < steps; at++) {
        const dx = (points[at * 2 + 2] ?? 0) - (points[at * 2] ?? 0);
        const dy = (points[at * 2 + 3] ?? 0) - (points[at * 2 + 1] ?? 0);
        expect(Math.abs(Math.hypot(dx, dy) - length / steps)).toBeLessThan(1);
      }
    }
  });
});

describe('groupCables and cableAt', () => {
  const topology = topologyOf(mockLab());
  const routes = routeCables(topology, layoutTopology(topology));

  it('draws every cable once, with the look of its state', () => {
    for (const rows of [mockLab(), statesLab(), hugeLab()]) {
      const map = topologyOf(rows);
      const ways = routeCables(map, layoutTopology(map));
      const groups = groupCables(map.cables, ways, { kind: 'guest', id: 'seed/web' });
      expect(groups.length).toBeLessThanOrEqual(Math.max(8, map.cables.length / 6));
      const starts = groups.reduce((sum, group) => sum + group.path.split('M').length - 1, 0);
      expect(starts).toBe(map.cables.length);
    }
    const looks = groupCables(topology.cables, routes, { kind: 'guest', id: 'seed/web' }).map(
      (group) => group.look,
    );
    expect(looks).toContain('l2 up selected');
    expect(looks).toContain('l2 cut');
  });

  it('finds each cable at its own points and none far from all', () => {
    for (const cable of topology.cables) {
      const route = routes.get(cable.key);
      if (!route) continue;
      const { points } = trackOf(route);
      const middle = Math.floor(points.length / 4) * 2;
      const point = { x: (points[middle] ?? 0) + 2, y: (points[middle + 1] ?? 0) + 2 };
      expect(cableAt(topology.cables, routes, point, 7)?.key).toBe(cable.key);
    }
    expect(cableAt(topology.cables, routes, { x: -500, y: -500 }, 7)).toBeNull();
  });
});
