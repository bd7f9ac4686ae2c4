// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from 'node:util';
import type { GuestState } from '../../contract/rows.ts';
import { bridgeIn, networkIn, type Picture } from '../net/picture.ts';
import { forwards, isOwn, type ResolvedGuest, type ResolvedLab, type ResolvedNetwork } from './resolve.ts';

/** One thing to do to bring a lab up. */
export type PlanStep =
  | { readonly kind: 'remove'; readonly network: string }
  | { readonly kind: 'apply'; readonly network: ResolvedNetwork; readonly isNew: boolean }
  | { readonly kind: 'start'; readonly guest: ResolvedGuest };

/** What is there now. */
export interface Observed {
  readonly picture: Picture | null;
  readonly guests: ReadonlyMap<string, GuestState>;
  /** What this core has applied last, by network. */
  readonly applied: ReadonlyMap<string, ResolvedNetwork>;
}

/** What is missing between what is wanted and what is there, in the order to do it. Pure. */
export function planUp(lab: ResolvedLab, observed: Observed): PlanStep[] {
  const { picture, guests, applied } = observed;
  const wanted = new Set(lab.networks.map((network) => network.name));
  const gone = [...(picture?.networks.values() ?? [])].filter(
    (network) => network.lab === lab.name && !wanted.has(network.name),
  );
  return [
    ...gone.map((network) => ({ kind: 'remove', network: network.name }) as const),
    ...lab.networks
      .filter((network) => !holds(lab.name, network, picture, applied.get(network.name)))
      .map((network) => {
        const isNew = networkIn(picture, lab.name, network.name) === undefined;
        return { kind: 'apply', network, isNew } as const;
      }),
    ...lab.guests
      .filter((guest) => ['shut off', 'crashed'].includes(guests.get(guest.name) ?? 'shut off'))
      .map((guest) => ({ kind: 'start', guest }) as const),
  ];
}

/**
 * Whether the kernel has a network as it is wanted. Reservations cannot be observed, so a network that this
 * core has not applied itself is applied once more, which changes nothing where all is right.
 */
function holds(
  lab: string,
  network: ResolvedNetwork,
  picture: Picture | null,
  applied: ResolvedNetwork | undefined,
): boolean {
  const now = networkIn(picture, lab, network.name);
  const bridge = bridgeIn(picture, lab, network.name);
  return (
    isDeepStrictEqual(applied, network) &&
    now !== undefined &&
    bridge !== undefined &&
    bridge.up &&
    (!isOwn(network) ||
      (bridge.mtu === network.mtu &&
        bridge.addresses.includes(`${network.address}/${network.prefix}`) &&
        (now.ipv6 ?? null) === network.ipv6)) &&
    now.filter &&
    now.mode === network.mode &&
    now.forwarding === forwards(network.mode) &&
    now.nat === network.nat &&
    now.antispoof === network.antispoof &&
    (network.dhcp === null || (now.dns?.pid ?? null) !== null)
  );
}
