// SPDX-License-Identifier: Apache-2.0

/** How many taps more than one are opened to tell a request from the start of the program that asks. */
export const moreTaps = 8;

/** What network-bench.ts asks of network-inside.ts. */
export interface Order {
  readonly do:
    | 'network up'
    | 'network up, tapyard-tap started'
    /** The same by a netd that runs, without DHCP: what the tutorial's commands do, and no more. */
    | 'network again'
    | 'tutorial network up'
    | 'tutorial bridge'
    | 'tutorial tap'
    | 'no tutorial bridge'
    | 'stand'
    | 'taps'
    | 'toggle NAT'
    | 'fall';
  readonly scope: 'private' | 'host';
  readonly nat?: boolean;
  /** Of taps; 1 by default. */
  readonly count?: number;
}

/** How long that took, and its parts. */
export interface Answer {
  readonly ms: number;
  /** The requests of it alone: apply_network and open_tap, to netd that runs. */
  readonly requests?: number;
  readonly parts?: Readonly<Record<string, number>>;
}
