// SPDX-License-Identifier: Apache-2.0
import { useEffect, type RefObject } from 'react';
import { consoleKey, type ConsoleTab } from '../../store/kept.ts';
import { useUi } from '../../store/ui.ts';
import { watchChord } from './release-chord.ts';

/**
 * Tells the window that this console has the keyboard, while it has it, and gives it back by the release
 * chord. `onRelease` must stay the same function.
 */
export function useConsoleKeyboard(
  place: RefObject<HTMLElement | null>,
  guest: string,
  kind: ConsoleTab['kind'],
  onRelease: () => void,
): void {
  const key = consoleKey({ guest, kind });
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const focus = (): void => useUi.getState().setFocusedConsole(key);
    const blur = (): void => {
      const ui = useUi.getState();
      if (ui.focusedConsole === key) ui.setFocusedConsole(null);
    };
    element.addEventListener('focusin', focus);
    element.addEventListener('focusout', blur);
    const stop = watchChord(element, onRelease);
    return () => {
      stop();
      element.removeEventListener('focusin', focus);
      element.removeEventListener('focusout', blur);
      blur();
    };
  }, [place, key, onRelease]);
}
