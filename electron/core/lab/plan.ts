// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from 'node:util';
import type { GuestState } from '../../contract/rows.ts';
import { noShape, sameShape, shapeNumbers, type ShapeNumbers } from '../../contract/shape.ts';
import { type HeldTap, tapOf } from '../guest/spec.ts';
import { bridgeIn, hasPort, networkIn, type Picture, tapIn } from '../net/picture.ts';
import {
  forwards,
  isOwn,
  type ResolvedGuest,
  type ResolvedLab,
  type ResolvedNetwork,
  type ResolvedNic,
} from './resolve.ts';

/** One thing to do to bring a lab up. */
export type PlanStep =
  | { readonly kind: 'unplug'; readonly guest: string; readonly tap: HeldTap }
  | { readonly kind: 'remove'; readonly network: string }
  | { readonly kind: 'apply'; readonly network: ResolvedNetwork; readonly isNew: boolean }
  | { readonly kind: 'plug'; readonly guest: string; readonly nic: ResolvedNic }
  /** `nic` is the number by which netd knows it. */
  | {
      readonly kind: 'shape';
      readonly guest: string;
      readonly nic: number;
      readonly network: string;
      readonly from: ShapeNumbers;
      readonly to: ShapeNumbers;
    }
  | { readonly kind: 'start'; readonly guest: ResolvedGuest };

/** What is there now. */
export interface Observed {
  readonly picture: Picture | null;
  readonly guests: ReadonlyMap<string, { readonly state: GuestState; readonly taps: readonly HeldTap[] }>;
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
  const running = lab.guests.filter((guest) => guests.get(guest.name)?.state === 'running');
  const tapsOf = (guest: ResolvedGuest): readonly HeldTap[] => guests.get(guest.name)?.taps ?? [];
  return [
    // Before its network goes, and before what may take its place comes.
    ...running.flatMap((guest) =>
      tapsOf(guest)
        .filter((tap) => !guest.nics.some((nic) => tapOf(nic, [tap])))
        .map((tap) => ({ kind: 'unplug', guest: guest.name, tap }) as const),
    ),
    ...gone.map((network) => ({ kind: 'remove', network: network.name }) as const),
    ...lab.networks
      .filter((network) => !holds(lab.name, network, picture, applied.get(network.name)))
      .map((network) => {
        const isNew = networkIn(picture, lab.name, network.name) === undefined;
        return { kind: 'apply', network, isNew } as const;
      }),
    ...running.flatMap((guest) =>
      guest.nics
        .filter((nic) => !tapOf(nic, tapsOf(guest)))
        .map((nic) => ({ kind: 'plug', guest: guest.name, nic }) as const),
    ),
    ...running.flatMap((guest) => guest.nics.flatMap((nic) => reshaped(lab.name, guest, nic, observed))),
    ...lab.guests
      .filter((guest) => ['shut off', 'crashed'].includes(guests.get(guest.name)?.state ?? 'shut off'))
      .map((guest) => ({ kind: 'start', guest }) as const),
  ];
}

/** What a plugged NIC is to be held to, where it is held to something else. */
function reshaped(
  lab: string,
  guest: ResolvedGuest,
  nic: ResolvedNic,
  { picture, guests }: Observed,
): PlanStep[] {
  const held = tapOf(nic, guests.get(guest.name)?.taps ?? []);
  const link = held && tapIn(picture, lab, guest.name, held.nic);
  if (!held || !link) return [];
  const from = link.shape ?? noShape;
  const to = shapeNumbers(nic.shape);
  return sameShape(from, to)
    ? []
    : [{ kind: 'shape', guest: guest.name, nic: held.nic, network: nic.network, from, to }];
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
    hasPort(picture, bridge, network.interface) &&
    (!isOwn(network) ||
      (bridge.mtu === network.mtu &&
        bridge.addresses.includes(`${network.address}/${network.prefix}`) &&
        (now.ipv6 ?? null) === network.ipv6 &&
        (now.proxy_arp !== undefined) === network.proxyArp &&
        // Whoever was in the way may be gone: the LAN is asked once more.
        (now.proxy_arp?.reason ?? null) === null)) &&
    now.filter &&
    now.mode === network.mode &&
    now.forwarding === forwards(network.mode) &&
    now.nat === network.nat &&
    now.antispoof === network.antispoof &&
    (network.dhcp === null || (now.dns?.pid ?? null) !== null)
  );
}
