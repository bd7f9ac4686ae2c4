// SPDX-License-Identifier: Apache-2.0
import { useLayoutEffect, type RefObject } from 'react';

/**
 * For what comes and goes within a section: where it goes while it has the keyboard, the button that opens such has it
 * again (`data-opener`, in the nearest `data-home` around), not the whole window.
 */
export function useFocusHome(ref: RefObject<HTMLElement | null>): void {
  useLayoutEffect(() => {
    const element = ref.current;
    const home = element?.parentElement?.closest('[data-home]');
    // A layout effect ends while the element is still there.
    return () => {
      if (!element?.contains(document.activeElement)) return;
      // The button may only now come back.
      requestAnimationFrame(() => home?.querySelector<HTMLElement>('[data-opener]')?.focus());
    };
  }, [ref]);
}
