// SPDX-License-Identifier: Apache-2.0
import type { KeyboardEvent, RefObject } from 'react';
import { useUi } from '../../store/ui.ts';
import { arrowKeys, neighbour } from './arrows.ts';
import { focusKey, keyUnder, openSubject } from './keys.ts';
import type { Box } from './layout.ts';
import { boxOf, subjectOf, type Plan } from './usePlan.ts';
import type { Level } from './view.ts';

interface MapKeyboard {
  readonly root: RefObject<HTMLElement | null>;
  readonly plan: Plan;
  readonly level: Level;
  readonly selectedKey: string | null;
  /** Moves the view until the box is in it. */
  readonly reveal: (box: Box) => void;
}

/** The map by keyboard: arrow keys go from thing to thing, Enter opens, Escape lets go. */
export function useKeyboard(map: MapKeyboard): (event: KeyboardEvent) => void {
  const { plan, selectedKey } = map;
  return (event) => {
    const key = keyUnder(event.target) ?? selectedKey;
    const direction = arrowKeys[event.key];
    if (direction && !event.ctrlKey && !event.altKey && !event.metaKey) {
      event.preventDefault();
      const { topology, layout } = plan;
      const next = key === null ? topology.uplink.key : neighbour(topology, layout, key, direction);
      if (next !== null) goTo(map, next);
    } else if (
      event.key === 'Enter' &&
      key !== null &&
      event.target instanceof HTMLElement &&
      event.target.tagName !== 'BUTTON'
    ) {
      event.preventDefault();
      openSubject(subjectOf(plan, key));
    } else if (event.key === 'Escape') {
      useUi.getState().select(null);
    }
  };
}

/** Selects a node or port, brings it into sight and gives it the keyboard. */
function goTo({ root, plan, level, reveal }: MapKeyboard, key: string): void {
  const box = boxOf(plan, key);
  if (!box) return;
  const subject = subjectOf(plan, key);
  if (subject.kind !== 'lab') useUi.getState().select(subject);
  // On the canvas there is nothing that could take the focus and be read out.
  if (level === 'far') useUi.getState().announce(key.slice(key.lastIndexOf('/') + 1));
  reveal(box);
  // The node may only now come into the DOM.
  requestAnimationFrame(() => requestAnimationFrame(() => focusKey(root.current, key)));
}
