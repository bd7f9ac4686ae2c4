// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { neighbour, type Direction } from '../../../renderer/features/map/arrows.ts';
import { layoutTopology } from '../../../renderer/features/map/layout.ts';
import { treeOf, visibleItems } from '../../../renderer/features/map/tree.ts';
import { fortyLab, lower, mockLab, statesLab } from '../../fakes/labs.ts';
import { topologyOf } from './tables.ts';

const topology = topologyOf(mockLab());
const layout = layoutTopology(topology);
const go = (from: string, ...directions: Direction[]): string | null =>
  directions.reduce<string | null>(
    (key, direction) => key && neighbour(topology, layout, key, direction),
    from,
  );

describe('neighbour', () => {
  it('follows the cables from the uplink to a guest and back', () => {
    expect(go('uplink:seed', 'right')).toBe('nat:seed/br0');
    expect(go('uplink:seed', 'right', 'right')).toBe('network:seed/br0');
    expect(go('network:seed/br0', 'right')).toMatch(/^link:seed\/tap/);
    expect(go('link:seed/tap0', 'right')).toBe('guest:seed/web');
    expect(go('guest:seed/web', 'left', 'left', 'left', 'left')).toBe('uplink:seed');
  });
  it('goes up and down among equals', () => {
    expect(go('guest:seed/web', 'down')).toBe('guest:seed/db');
    expect(go('guest:seed/db', 'down')).toBe('guest:seed/router');
    expect(go('guest:seed/web', 'up')).toBeNull();
    expect(go('link:seed/tap0', 'down')).toBe('link:seed/tap1');
    expect(go('nat:seed/br0', 'down')).toBe('nat:seed/br1');
  });
  it('steps over ports that are not there', () => {
    const down = topologyOf(lower(mockLab()));
    const placed = layoutTopology(down);
    expect(neighbour(down, placed, 'guest:seed/web', 'left')).toBe('network:seed/br0');
    expect(neighbour(down, placed, 'network:seed/br0', 'right')).toMatch(/^guest:/);
  });
  it('reaches every guest from the uplink', () => {
    const forty = topologyOf(fortyLab());
    const placed = layoutTopology(forty);
    const seen = new Set(['uplink:big']);
    const queue = [...seen];
    for (let key = queue.pop(); key !== undefined; key = queue.pop()) {
      for (const direction of ['left', 'right', 'up', 'down'] as const) {
        const next = neighbour(forty, placed, key, direction);
        if (next !== null && !seen.has(next)) queue.push(next);
        if (next !== null) seen.add(next);
      }
    }
    for (const guest of forty.guests) expect(seen).toContain(guest.key);
  });
});

describe('treeOf', () => {
  it('has every node of the map', () => {
    for (const rows of [mockLab(), statesLab(), lower(mockLab()), fortyLab()]) {
      const map = topologyOf(rows);
      const items = visibleItems(treeOf(map), new Set());
      const selections = new Set(items.map((item) => `${item.selection.kind}:${item.selection.id}`));
      for (const node of [map.uplink, ...map.nats, ...map.bridges, ...map.guests])
        expect(selections).toContain(node.key);
      expect(new Set(items.map((item) => item.key)).size).toBe(items.length);
    }
  });
  it('hides the children of what is closed', () => {
    const items = treeOf(topology);
    const all = visibleItems(items, new Set());
    const closed = visibleItems(items, new Set(['network:seed/br0']));
    expect(closed.length).toBeLessThan(all.length);
    expect(closed.some((item) => item.title === 'web')).toBe(false);
  });
});
