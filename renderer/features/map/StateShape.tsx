// SPDX-License-Identifier: Apache-2.0
import type { StateShape as Shape } from './map-model.ts';

/** Outlines in a 12×12 box, even-odd, the same as in lib/StateIcon. A state is a shape and a word, never a colour alone. */
export const shapePaths: Readonly<Record<Shape, string>> = {
  running: 'M2.5 1.2v9.6L11 6z',
  cut: 'M1 5h3v2H1zM8 5h3v2H8zM4.6 2l2.8 8-1.1.4L3.5 2.4z',
  paused: 'M2 1.5h3v9H2zM7 1.5h3v9H7z',
  off: 'M2 2h8v8H2zM3.4 3.4v5.2h5.2V3.4z',
  starting: 'M6 1l4 4H7.3v6H4.7V5H2z',
  stopping: 'M6 11L2 7h2.7V1h2.6v6H10z',
  crashed: 'M2.6 1L6 4.4 9.4 1 11 2.6 7.6 6 11 9.4 9.4 11 6 7.6 2.6 11 1 9.4 4.4 6 1 2.6z',
};

/** The token of each shape's colour. */
export const shapeColours = {
  running: '--ok',
  cut: '--warn',
  paused: '--warn',
  off: '--faint',
  starting: '--accent',
  stopping: '--warn',
  crashed: '--bad',
} as const satisfies Readonly<Record<Shape, `--${string}`>>;

/** The shape of a state; the word beside it says the same, so it is hidden from screen readers. */
export function StateShape({ shape }: { readonly shape: Shape }) {
  return (
    <svg className={`map-shape map-shape-${shape}`} viewBox="0 0 12 12" fillRule="evenodd" aria-hidden="true">
      <path d={shapePaths[shape]} />
    </svg>
  );
}
