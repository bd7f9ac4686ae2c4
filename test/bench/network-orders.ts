// SPDX-License-Identifier: Apache-2.0

/** What network-bench.ts asks of network-inside.ts. */
export interface Order {
  readonly do:
    | 'network up'
    | 'tutorial network up'
    | 'tutorial bridge'
    | 'tutorial tap'
    | 'no tutorial bridge'
    | 'stand'
    | 'tap'
    | 'toggle NAT'
    | 'fall';
  readonly scope: 'private' | 'host';
  readonly nat?: boolean;
}

/** How long that took, and its parts. */
export interface Answer {
  readonly ms: number;
  readonly parts?: Readonly<Record<string, number>>;
}
