// SPDX-License-Identifier: Apache-2.0
import { memo } from 'react';
import { trackFor } from './cables.ts';
import type { Cable } from './map-model.ts';
import type { Route } from './route.ts';

/** On the middle of a cable that is held to a bandwidth, a delay or a loss: a narrow place, as in plans of pipes. */
export const HeldMark = memo(({ cable, route }: { readonly cable: Cable; readonly route: Route }) => {
  const { points } = trackFor(route);
  const at = Math.floor(points.length / 4) * 2;
  const [x = 0, y = 0] = points.slice(at);
  const [beforeX = x, beforeY = y] = points.slice(at - 2);
  return (
    <svg
      className="map-held"
      viewBox="-8 -8 16 16"
      role="img"
      aria-label={cable.note}
      style={{ left: x, top: y, rotate: `${Math.atan2(y - beforeY, x - beforeX)}rad` }}
    >
      <circle r="7" />
      <path d="M-4-4Q1 0-4 4M4-4Q-1 0 4 4" />
    </svg>
  );
});
