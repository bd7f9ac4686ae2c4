// SPDX-License-Identifier: Apache-2.0
import { useCallback, useEffect, useRef } from 'react';
import { formatRate } from '../../lib/format.ts';
import { gauges, type Gauge } from '../../store/gauges.ts';

interface Props<Value> {
  readonly gauge: Gauge<Value>;
  readonly id: string;
  readonly format: (value: Value) => string;
  /** Shown until the first value comes. */
  readonly empty?: string;
}

/** The latest value of a gauge as text. React draws it once; a listener writes its text node from then on. */
export function GaugeText<Value>({ gauge, id, format, empty = '' }: Props<Value>) {
  const span = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    const text = span.current?.firstChild;
    if (!(text instanceof Text)) return undefined;
    return gauge.listen(id, (value) => {
      const words = format(value) || empty;
      if (text.data !== words) text.data = words;
    });
  }, [gauge, id, format, empty]);
  // An empty string would make no text node to write to.
  return <span ref={span}>{empty || '\u200b'}</span>;
}

interface Rate {
  readonly down: number;
  readonly up: number;
}

const bothWays = ({ down, up }: Rate): string => `↓ ${formatRate(down)}\u2002↑ ${formatRate(up)}`;
/** Without units, where two NICs share a line: "4.2M". */
const short = (bits: number): string => formatRate(bits).replace(/ ([kMG]?)b\/s/, '$1');
const bothShort = ({ down, up }: Rate): string => `↓ ${short(down)} ↑ ${short(up)}`;
const sameText = (text: string): string => text;
const flowWords = (flows: number): string => `${flows} ${flows === 1 ? 'flow' : 'flows'}`;

/** Both rates of a link: "↓ 4.2 Mb/s ↑ 310 kb/s", or "↓ 4.2M ↑ 310k" where there is little room. */
export const RateText = ({
  link,
  compact = false,
}: {
  readonly link: string;
  readonly compact?: boolean;
}) => (
  <GaugeText gauge={gauges.rates} id={link} format={compact ? bothShort : bothWays} empty="↓ 0&ensp;↑ 0" />
);

/** The last line on a guest's serial console. */
export const TailText = ({ guest }: { readonly guest: string }) => (
  <GaugeText gauge={gauges.tails} id={guest} format={sameText} />
);

interface FlowsProps {
  readonly lab: string;
  /** Where they leave by. */
  readonly device: string | null;
}

/** "41 flows → eth0" of a lab. */
export function FlowsText({ lab, device }: FlowsProps) {
  const way = device === null ? '' : `→ ${device}`;
  const format = useCallback((flows: number) => `${flowWords(flows)} ${way}`.trimEnd(), [way]);
  return <GaugeText gauge={gauges.flows} id={lab} format={format} empty={way} />;
}
