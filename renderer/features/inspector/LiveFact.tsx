// SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef, type ReactElement } from 'react';
import type { Gauge } from '../../store/gauges.ts';
import styles from './Section.module.css';

interface LiveFactProps {
  readonly name: string;
  readonly gauge: Gauge<number>;
  readonly id: string;
  readonly format: (value: number) => string;
}

/** A fact that a gauge writes, past React. `format` must stay the same function. */
export function LiveFact({ name, gauge, id, format }: LiveFactProps): ReactElement {
  const text = useRef<HTMLSpanElement>(null);
  useEffect(
    () =>
      gauge.listen(id, (value) => {
        if (text.current) text.current.textContent = format(value);
      }),
    [gauge, id, format],
  );
  return (
    <>
      <dt>{name}</dt>
      <dd className={styles.mono}>
        <span ref={text}>–</span>
      </dd>
    </>
  );
}
