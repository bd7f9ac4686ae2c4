// SPDX-License-Identifier: Apache-2.0
import type { NetdReply } from './netd-protocol.ts';

/** Bits per second towards the lab's guests and from them. */
export interface Rate {
  readonly down: number;
  readonly up: number;
}

type Counters = NetdReply<'counters'>['links'][number];

/**
 * Rates from two counts of an interface `seconds` apart. Bridge and taps count from the host's side: what they
 * receive, the guests have sent. The uplink counts the other way round.
 */
export function rateOf(before: Counters, now: Counters, seconds: number, isUplink: boolean): Rate {
  // An interface that was made anew under the same number begins at 0.
  const perSecond = (old: number, fresh: number): number =>
    fresh >= old ? ((fresh - old) * 8) / seconds : 0;
  const received = Math.round(perSecond(before.rx_bytes, now.rx_bytes));
  const sent = Math.round(perSecond(before.tx_bytes, now.tx_bytes));
  return isUplink ? { down: received, up: sent } : { down: sent, up: received };
}

/** Remembers the last counts of one namespace. */
export class RateMeter {
  #before = new Map<number, Counters>();
  #at = 0;

  /** The rates since the last call, by ifindex; empty at the first, and after a pause of more than 2 s. */
  measure(links: readonly Counters[], now: number, uplink: number | undefined): Map<number, Rate> {
    const seconds = (now - this.#at) / 1000;
    const rates = new Map<number, Rate>();
    if (seconds > 0 && seconds < 2) {
      for (const link of links) {
        const before = this.#before.get(link.ifindex);
        if (before) rates.set(link.ifindex, rateOf(before, link, seconds, link.ifindex === uplink));
      }
    }
    this.#before = new Map(links.map((link) => [link.ifindex, link]));
    this.#at = now;
    return rates;
  }
}
