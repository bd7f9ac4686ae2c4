// SPDX-License-Identifier: Apache-2.0
import { useRef, type KeyboardEvent, type PointerEvent, type ReactElement } from 'react';
import styles from './Splitter.module.css';
import { cx } from './class-names.ts';

interface SplitterProps {
  readonly label: string;
  /** `vertical` separates left from right and moves sideways. */
  readonly orientation: 'vertical' | 'horizontal';
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly step: number;
  /** The value for a pointer that has moved by `delta` CSS pixels to the right or down since `start`. */
  readonly toValue: (start: number, delta: number) => number;
  /** Whether the arrow to the right or down makes the value larger. */
  readonly grows: boolean;
  readonly onChange: (value: number) => void;
}

/** A separator that can be dragged, and moved by the arrow keys (WAI-ARIA window splitter pattern). */
export function Splitter(props: SplitterProps): ReactElement {
  const { label, orientation, value, min, max, step, toValue, grows, onChange } = props;
  const drag = useRef<{ at: number; value: number } | null>(null);
  const clamp = (next: number): number => Math.min(max, Math.max(min, next));
  const at = (event: PointerEvent): number => (orientation === 'vertical' ? event.clientX : event.clientY);

  const onKeyDown = (event: KeyboardEvent): void => {
    const [less, more] = orientation === 'vertical' ? ['ArrowLeft', 'ArrowRight'] : ['ArrowUp', 'ArrowDown'];
    const sign = grows ? 1 : -1;
    const next =
      event.key === less
        ? value - sign * step
        : event.key === more
          ? value + sign * step
          : event.key === 'Home'
            ? min
            : event.key === 'End'
              ? max
              : null;
    if (next === null) return;
    event.preventDefault();
    onChange(clamp(next));
  };

  return (
    <div
      // A focusable separator is a widget (WAI-ARIA 1.2, separator): it takes keys and has a value.
      role="separator"
      tabIndex={0}
      aria-label={label}
      aria-orientation={orientation}
      aria-valuenow={Math.round(value * 100) / 100}
      aria-valuemin={min}
      aria-valuemax={max}
      className={cx(styles.splitter, styles[orientation])}
      onKeyDown={onKeyDown}
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        event.currentTarget.setPointerCapture(event.pointerId);
        drag.current = { at: at(event), value };
      }}
      onPointerMove={(event) => {
        if (drag.current) onChange(clamp(toValue(drag.current.value, at(event) - drag.current.at)));
      }}
      onPointerUp={() => (drag.current = null)}
      onPointerCancel={() => (drag.current = null)}
    />
  );
}
