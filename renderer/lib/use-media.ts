// SPDX-License-Identifier: Apache-2.0
import { useSyncExternalStore } from 'react';

/** Whether a media query holds, now and after it changes. */
export function useMedia(query: string): boolean {
  return useSyncExternalStore(
    (listener) => {
      const list = matchMedia(query);
      list.addEventListener('change', listener);
      return () => list.removeEventListener('change', listener);
    },
    () => matchMedia(query).matches,
  );
}

/** Room for an inspector beside the map; below, it comes and goes. */
export const wideQuery = '(min-width: 1200px)';
/** Room for a dock of two panes; below, it has one. */
export const tallQuery = '(min-height: 800px)';
