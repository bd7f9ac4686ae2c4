// SPDX-License-Identifier: Apache-2.0

/** What scale-inside.ts found; times in ms. */
export interface Grown {
  readonly points: readonly {
    readonly taps: number;
    readonly networks: number;
    readonly openTap: readonly number[];
    readonly setNat: readonly number[];
    readonly tapByShell: readonly number[];
    readonly natByShell: readonly number[];
  }[];
  /** For each network, with all of them up. */
  readonly memory: { readonly netdKb: number; readonly dnsmasqKb: number };
  /** Each network's apply_network and remove_network, in the order in which they came and went. */
  readonly apply: readonly number[];
  readonly removed: readonly number[];
  readonly removedAll: number;
}
