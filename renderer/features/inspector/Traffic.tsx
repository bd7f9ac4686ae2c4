// SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef, type ReactElement } from 'react';
import { formatRate } from '../../lib/format.ts';
import { gauges } from '../../store/gauges.ts';
import { Section } from './Section.tsx';
import styles from './Traffic.module.css';

const seconds = 24;

/** What the cables with these link ids carry: now in words, and the last seconds as bars. Past React. */
export function Traffic({ links }: { readonly links: readonly string[] }): ReactElement {
  const text = useRef<HTMLSpanElement>(null);
  const bars = useRef<HTMLDivElement>(null);
  const key = links.join('\n');

  useEffect(() => {
    const ids = key === '' ? [] : key.split('\n');
    const history = Array.from({ length: seconds }, () => 0);
    let peak = 0;

    const now = (): { down: number; up: number } => {
      let down = 0;
      let up = 0;
      for (const id of ids) {
        const rate = gauges.rates.latest(id);
        down += rate?.down ?? 0;
        up += rate?.up ?? 0;
      }
      return { down, up };
    };
    const write = (): void => {
      const { down, up } = now();
      peak = Math.max(peak, down + up);
      if (text.current)
        text.current.textContent = down + up < 1 ? 'quiet' : `↓ ${formatRate(down)} ↑ ${formatRate(up)}`;
    };
    const draw = (): void => {
      history.push(peak);
      history.shift();
      const { down, up } = now();
      peak = down + up;
      const top = Math.max(1, ...history);
      Array.from(bars.current?.children ?? []).forEach((bar, index) => {
        if (bar instanceof HTMLElement)
          bar.style.height = `${Math.max(2, Math.round(((history[index] ?? 0) / top) * 100))}%`;
      });
    };
    write();
    draw();
    const stops = ids.map((id) => gauges.rates.listen(id, write));
    const timer = setInterval(draw, 1000);
    return () => {
      clearInterval(timer);
      for (const stop of stops) stop();
    };
  }, [key]);

  return (
    <Section title="Traffic" action={<span ref={text} className={styles.now} />}>
      <div ref={bars} className={styles.spark} aria-hidden>
        {Array.from({ length: seconds }, (_, index) => (
          <b key={index} />
        ))}
      </div>
    </Section>
  );
}
