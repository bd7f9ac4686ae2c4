// SPDX-License-Identifier: Apache-2.0
import type { Selection } from '../../store/subject.ts';
import type { BridgeNode, Cable, GuestNode, NatNode, Topology } from './map-model.ts';
import { natWord, wayName } from './words.ts';

/** One line of the map as a list. */
export interface TreeItem {
  readonly key: string;
  readonly selection: Selection;
  readonly title: string;
  readonly detail: string;
  /** Both, and what a screen reader needs besides. */
  readonly label: string;
  /** Link id for the `rates` gauge. */
  readonly rate: string | null;
  readonly nat: NatNode | null;
  readonly guest: GuestNode | null;
  readonly children: readonly TreeItem[];
}

const words = (...parts: readonly (string | null | undefined | false)[]): string =>
  parts.filter(Boolean).join(' · ');

function item(
  key: string,
  selection: Selection,
  title: string,
  detail: string,
  more: Partial<Pick<TreeItem, 'rate' | 'nat' | 'guest' | 'children'>> = {},
): TreeItem {
  return {
    key,
    selection,
    title,
    detail,
    label: `${title}, ${detail}`,
    rate: null,
    nat: null,
    guest: null,
    children: [],
    ...more,
  };
}

/** The map as a tree: the uplink; each network with its NAT, its ports and the guests on them; guests without NIC. Pure. */
export function treeOf(topology: Topology): readonly TreeItem[] {
  const { uplink } = topology;
  const cables = new Map(
    topology.cables.flatMap((cable) => (cable.from.port === null ? [] : [[cable.from.port, cable]])),
  );
  const guests = new Map(topology.guests.map((guest) => [guest.key, guest]));
  const out = uplink.ghost
    ? words(uplink.ghost.reason, uplink.ghost.fix)
    : words(uplink.device, ...uplink.addresses, uplink.through);
  return [
    item(uplink.key, uplink.selection, 'Internet', out),
    ...topology.bridges.map((bridge, at) => networkItem(bridge, topology.nats[at], cables, guests)),
    ...topology.guests
      .filter((guest) => guest.home === null)
      .map((guest) => guestItem(guest, guest.key, null)),
  ];
}

function networkItem(
  bridge: BridgeNode,
  nat: NatNode | undefined,
  cables: ReadonlyMap<string, Cable>,
  guests: ReadonlyMap<string, GuestNode>,
): TreeItem {
  const ports = bridge.ports.map((port): TreeItem => {
    const cable = cables.get(port.key);
    const guest = cable && guests.get(cable.to.node);
    // A guest with NICs on two networks stands under both, once for each cable.
    const children = guest ? [guestItem(guest, `${port.key}>${guest.key}`, cable)] : [];
    return item(`port:${port.key}`, port.selection, port.name, port.note, {
      rate: cable?.rate ?? null,
      children,
    });
  });
  const children = nat
    ? [
        item(
          nat.key,
          nat.selection,
          `${wayName[nat.mode]} ${natWord(nat)}`.trimEnd(),
          words(nat.sentence, nat.ghost?.reason),
          { nat },
        ),
      ]
    : [];
  const detail = words(
    ...bridge.addresses,
    bridge.services,
    bridge.portCount,
    bridge.ghost?.reason,
    bridge.ghost?.fix,
  );
  return item(bridge.key, bridge.selection, bridge.name, detail, { children: [...children, ...ports] });
}

function guestItem(guest: GuestNode, key: string, cable: Cable | null | undefined): TreeItem {
  const nic = cable?.to.nic ?? null;
  return item(
    key,
    guest.selection,
    guest.name,
    words(
      guest.line,
      guest.address,
      nic !== null && guest.nics.length > 1 && `eth${nic}`,
      guest.error?.message,
    ),
    {
      guest,
    },
  );
}

/** The items that can be seen, from top to bottom, when those in `closed` hide their children. Pure. */
export function visibleItems(items: readonly TreeItem[], closed: ReadonlySet<string>): readonly TreeItem[] {
  return items.flatMap((each) => [
    each,
    ...(closed.has(each.key) ? [] : visibleItems(each.children, closed)),
  ]);
}
