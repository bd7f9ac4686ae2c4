// SPDX-License-Identifier: Apache-2.0
import { runCommand } from '../../commands/run.ts';
import type { Subject } from '../../store/subject.ts';
import { useUi } from '../../store/ui.ts';

/** The key of the node or port that an event is in. */
export function keyUnder(target: EventTarget | null): string | null {
  if (!(target instanceof Element)) return null;
  const own = target.closest('[data-key]') ?? target.closest('.map-node')?.querySelector('[data-key]');
  return own?.getAttribute('data-key') ?? null;
}

/** Gives the keyboard to a node or port, or to the map where it is not in the DOM. */
export function focusKey(root: HTMLElement | null, key: string): void {
  const element = root?.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (element instanceof HTMLElement) element.focus({ preventScroll: true });
  else root?.querySelector<HTMLElement>('.react-flow')?.focus({ preventScroll: true });
}

/** What Enter and a double click do. */
export function openSubject(subject: Subject): void {
  if (subject.kind === 'guest') void runCommand('guest.serial', subject);
  else if (subject.kind !== 'lab') useUi.getState().select(subject);
}
