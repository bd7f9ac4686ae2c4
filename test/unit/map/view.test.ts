// SPDX-License-Identifier: Apache-2.0
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { flowOf } from '../../../renderer/features/map/traffic.ts';
import {
  fitView,
  nextCull,
  nextLevel,
  shiftToShow,
  visibleBox,
  type Cull,
  type Level,
  type View,
} from '../../../renderer/features/map/view.ts';
import { elideParts, reasonWords } from '../../../renderer/features/map/words.ts';

describe('nextLevel', () => {
  it('has its borders at 0.7 and 0.35', () => {
    const settled = (zoom: number): Level => nextLevel(nextLevel('chip', zoom, 10), zoom, 10);
    expect([1, 0.75, 0.6, 0.4, 0.3, 0.1].map(settled)).toEqual([
      'card',
      'card',
      'chip',
      'chip',
      'far',
      'far',
    ]);
  });
  it('does not flicker about a border', () => {
    for (const border of [0.7, 0.35]) {
      for (const start of ['card', 'chip', 'far'] as const) {
        let level = nextLevel(start, border, 10);
        const first = level;
        for (const zoom of [border - 0.01, border + 0.01, border - 0.01]) level = nextLevel(level, zoom, 10);
        expect(level).toBe(first);
      }
    }
  });
  it('goes to the canvas when too many nodes are in view, and comes back below that', () => {
    expect(nextLevel('card', 1, 400)).toBe('far');
    expect(nextLevel('far', 1, 150)).toBe('far');
    expect(nextLevel('far', 1, 130)).toBe('card');
    expect(nextLevel('chip', 0.5, 160)).toBe('chip');
  });
});

const views = fc.record({
  x: fc.integer({ min: -5000, max: 5000 }),
  y: fc.integer({ min: -5000, max: 5000 }),
  zoom: fc.double({ min: 0.05, max: 2, noNaN: true }),
  width: fc.integer({ min: 200, max: 3000 }),
  height: fc.integer({ min: 200, max: 2000 }),
});

describe('nextCull', () => {
  /** How far the part that is kept reaches beyond what is seen, at its nearest side, screen pixels. */
  const reach = (cull: Cull, view: View): number => {
    const { box } = cull;
    const seen = visibleBox(view);
    const sides = [
      seen.x - box.x,
      seen.y - box.y,
      box.x + box.width - seen.x - seen.width,
      box.y + box.height - seen.y - seen.height,
    ];
    return Math.min(...sides) * view.zoom;
  };
  const steps = fc.array(
    fc.record({ dx: fc.integer({ min: -300, max: 300 }), dy: fc.integer({ min: -300, max: 300 }) }),
  );
  it('reaches beyond what is seen, wherever and however fast the view is panned', () => {
    fc.assert(
      fc.property(views, steps, (start, path) => {
        let view: View = start;
        let cull = nextCull(null, view);
        for (const { dx, dy } of path) {
          expect(reach(cull, view)).toBeGreaterThan(31.9);
          view = { ...view, x: view.x + dx, y: view.y + dy };
          cull = nextCull(cull, view);
        }
        expect(reach(cull, view)).toBeGreaterThan(31.9);
      }),
    );
  });
  it('changes once in 160 screen pixels of a pan at most', () => {
    fc.assert(
      fc.property(views, fc.constantFrom(1, -1), fc.constantFrom('x', 'y'), (start, sign, axis) => {
        let cull = nextCull(null, start);
        let changes = 0;
        for (let come = 1; come <= 1600; come++) {
          const next = nextCull(cull, { ...start, [axis]: start[axis] + sign * come });
          if (next !== cull) changes++;
          cull = next;
        }
        expect(changes).toBeGreaterThan(8);
        expect(changes).toBeLessThanOrEqual(10);
      }),
    );
  });
  it('shrinks again after zooming in', () => {
    const view = { x: 0, y: 0, zoom: 0.2, width: 1000, height: 500 };
    const wide = nextCull(null, view);
    expect(nextCull(wide, { ...view, x: -500, y: -250, zoom: 1 }).box.width).toBeLessThan(wide.box.width / 2);
  });
});

describe('fitView and shiftToShow', () => {
  const padding = { top: 20, right: 20, bottom: 50, left: 20 };
  it('shows all of the bounds, never larger than life', () => {
    fc.assert(
      fc.property(
        fc.record({
          x: fc.integer({ min: -900, max: 900 }),
          y: fc.integer({ min: -900, max: 900 }),
          width: fc.integer({ min: 100, max: 9000 }),
          height: fc.integer({ min: 100, max: 9000 }),
        }),
        (bounds) => {
          const view = fitView(bounds, 1000, 500, padding);
          expect(view.zoom).toBeLessThanOrEqual(1);
          expect(bounds.x * view.zoom + view.x).toBeGreaterThanOrEqual(19.9);
          expect((bounds.x + bounds.width) * view.zoom + view.x).toBeLessThanOrEqual(980.1);
          expect((bounds.y + bounds.height) * view.zoom + view.y).toBeLessThanOrEqual(450.1);
        },
      ),
    );
  });
  it('moves a box into sight by the least', () => {
    const view = { x: 0, y: 0, zoom: 1, width: 1000, height: 500 };
    expect(shiftToShow(view, { x: 100, y: 100, width: 250, height: 112 }, 20)).toEqual({ dx: 0, dy: 0 });
    expect(shiftToShow(view, { x: 900, y: -50, width: 250, height: 112 }, 20)).toEqual({ dx: -170, dy: 70 });
  });
});

describe('flowOf', () => {
  it('is quiet for next to nothing, and quicker and denser with the rate', () => {
    expect(flowOf(0)).toBeNull();
    expect(flowOf(Number.NaN)).toBeNull();
    const flows = [1e3, 1e5, 1e7, 1e9].map((bits) => flowOf(bits) ?? { speed: 0, spacing: 0 });
    for (let at = 1; at < flows.length; at++) {
      expect(flows[at]?.speed).toBeGreaterThan(flows[at - 1]?.speed ?? 0);
      expect(flows[at]?.spacing).toBeLessThan(flows[at - 1]?.spacing ?? 0);
    }
    expect(flowOf(1e15)).toEqual(flowOf(1e9));
  });
});

describe('words', () => {
  it('splits a name so that its end stays', () => {
    expect(elideParts('web')).toEqual({ head: 'web', tail: '' });
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 63 }), (name) => {
        const { head, tail } = elideParts(name);
        expect(head + tail).toBe(name);
        expect(head.length).toBeGreaterThan(tail.length);
      }),
    );
  });
  it('falls back on the message for a code it has no short words for', () => {
    expect(reasonWords({ code: 'PASTA_MISSING', message: 'm', hint: 'apt install passt' })).toEqual({
      reason: 'pasta is missing',
      fix: 'apt install passt',
      expected: false,
    });
    expect(reasonWords({ code: 'SOMETHING_NEW', message: 'what happened' }).reason).toBe('what happened');
  });
});
