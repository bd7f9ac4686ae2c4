// SPDX-License-Identifier: Apache-2.0
import type { ErrorData } from '../../../electron/contract/error.ts';
import type {
  GuestRow,
  LabRow,
  LinkRow,
  NetworkRow,
  NicState,
  Uplink,
} from '../../../electron/contract/rows.ts';
import { bridgeName } from '../../../electron/contract/rows.ts';
import { shapeText } from '../../../electron/contract/shape.ts';
import { isLinkLocal } from '../../lib/address.ts';
import { count } from '../../lib/format.ts';
import type { Tables } from '../../store/tables.ts';
import type {
  BridgeNode,
  Cable,
  CableEnd,
  Ghost,
  GuestNode,
  NatNode,
  NicLine,
  Port,
  StateShape,
  Topology,
  UplinkNode,
} from './map-model.ts';
import { byName, reasonWords } from './words.ts';

/** The tables that the map is drawn from. */
export type MapTables = Pick<Tables, 'host' | 'labs' | 'networks' | 'links' | 'guests'>;

const natKey = (network: string): string => `nat:${network}`;
const bridgeKey = (network: string): string => `network:${network}`;
const guestKey = (guest: string): string => `guest:${guest}`;
const wantedPort = (guest: GuestRow, nic: NicState): string => `wanted:${guest.id}/${nic.index}`;
const end = (node: string, port: string | null = null, nic: number | null = null): CableEnd => ({
  node,
  port,
  nic,
});

const inLab = <R extends { readonly lab: string }>(rows: ReadonlyMap<string, R>, lab: string): R[] =>
  [...rows.values()].filter((row) => row.lab === lab);

/** Rows → what to draw; null when there is no such lab. Pure. */
export function deriveTopology(tables: MapTables, labId: string): Topology | null {
  const lab = tables.labs.get(labId);
  if (!lab) return null;
  const networks = inLab(tables.networks, labId).sort((a, b) => byName(a.name, b.name));
  const links = inLab(tables.links, labId);
  const linkByName = new Map(links.map((link) => [link.name, link]));
  const guests = inLab(tables.guests, labId).sort(
    (a, b) => byName(a.nics[0]?.wantedTap ?? '~', b.nics[0]?.wantedTap ?? '~') || byName(a.name, b.name),
  );
  const networkByName = new Map(networks.map((network) => [network.name, network]));
  const natsOn = networks.filter((network) => passes(network) === true && !interfaceOf(network)).length;

  const uplink = uplinkNode(lab, natsOn > 1);
  const nats = networks.map((network) => natNode(lab, network, natsOn === 1));
  const ports = new Map<string, Port[]>(networks.map((network) => [network.name, []]));
  const cables = networks.flatMap((network, at) => {
    const nat = nats[at];
    return nat ? l3Cables(uplink, nat, lab, network, linkByName, natsOn) : [];
  });

  // Ports: everything that the kernel says is enslaved to a bridge, ours or not.
  const byTap = new Map<string, { guest: GuestRow; nic: NicState }>();
  for (const guest of guests)
    for (const nic of guest.nics) if (nic.tap !== null) byTap.set(nic.tap, { guest, nic });
  for (const link of links) {
    if (link.master === null) continue;
    const held = byTap.get(link.name);
    const bridge = networkOf(link, networks);
    if (bridge) ports.get(bridge.name)?.push(observedPort(link, held, bridge));
    if (held && bridge) cables.push(l2Cable(bridge, link, held.guest, held.nic));
  }
  // Ports that are only wanted, and taps that hang on no bridge.
  for (const guest of guests) {
    for (const nic of guest.nics) {
      const tap = nic.tap === null ? undefined : linkByName.get(nic.tap);
      if (tap && networkOf(tap, networks)) continue;
      const network = networkByName.get(nic.network);
      if (!network) continue;
      const port = missingPort(guest, nic, tap, lab);
      ports.get(nic.network)?.push(port);
      cables.push({
        key: `cable:${port.key}`,
        layer: 'l2',
        state: 'ghost',
        from: end(bridgeKey(network.id), port.key),
        to: end(guestKey(guest.id), null, nic.index),
        selection: port.selection,
        rate: null,
        heldTo: null,
        note: `${port.name}: ${port.note}`,
      });
    }
  }
  return {
    lab: labId,
    state: lab.state,
    error: lab.error,
    boundary: boundaryWords(lab, tables),
    uplink,
    nats,
    bridges: networks.map((network) => bridgeNode(lab, network, ports.get(network.name) ?? [])),
    guests: guests.map((guest) => guestNode(lab, guest, networkByName, linkByName)),
    cables,
  };
}

/** The interface of this computer by which a network's guests are on the one behind it; null for none. */
const interfaceOf = ({ wanted }: NetworkRow): string | null => wanted?.interface ?? null;

/** The network whose bridge a link is a port of; two may share a bridge, and then the label says whose it is. */
function networkOf(link: LinkRow, networks: readonly NetworkRow[]): NetworkRow | undefined {
  const on = networks.filter((network) => bridgeName(network) === link.master);
  return on.find((network) => network.name === link.ours?.network) ?? on[0];
}

function boundaryWords(lab: LabRow, tables: MapTables): string {
  if (lab.scope === 'private') return 'network of this lab';
  const host = [...tables.host.values()][0];
  return host ? `this computer · ${host.hostname}` : 'this computer';
}

/** Why something of this lab is not in the kernel, from the most particular reason to the most general one. */
function ghostOf(lab: LabRow, reason: ErrorData | null): Ghost {
  if (reason) return reasonWords(reason);
  if (lab.state === 'down') return { reason: 'the lab is down', fix: null, expected: true };
  if (lab.state === 'starting') return { reason: 'not there yet', fix: null, expected: true };
  if (lab.state === 'stopping') return { reason: 'already removed', fix: null, expected: true };
  if (lab.error) return reasonWords(lab.error);
  return {
    reason: 'wanted, but not in the kernel',
    fix: 'Bring the lab up again to make it.',
    expected: false,
  };
}

function uplinkNode(lab: LabRow, showFlows: boolean): UplinkNode {
  const uplink = lab.uplink;
  const through: Record<Uplink['provider'], string | null> = {
    kernel: null,
    pasta: 'through pasta',
    none: null,
  };
  const dead = !uplink || uplink.provider === 'none' || uplink.hostDevice === null;
  return {
    kind: 'uplink',
    key: `uplink:${lab.id}`,
    selection: { kind: 'uplink', id: lab.id },
    device: uplink?.hostDevice ?? null,
    addresses: (uplink?.addresses ?? []).filter((address) => !isLinkLocal(address)),
    through: uplink && !dead ? through[uplink.provider] : null,
    flows: showFlows ? lab.id : null,
    ghost: dead ? ghostOf(lab, uplink?.reason ?? null) : uplink.reason ? reasonWords(uplink.reason) : null,
  };
}

/** True when traffic that NAT lets through has somewhere to go. */
const hasWayOut = (lab: LabRow): boolean => lab.uplink !== null && lab.uplink.provider !== 'none';

/** Whether a network's guests get out: a switch with NAT, else what the mode says. Null while there is no bridge. */
function passes({ observed }: NetworkRow): boolean | null {
  if (!observed) return null;
  return observed.mode === 'nat' ? observed.nat : observed.mode !== 'isolated';
}

/** Whether a network that is not there is wanted without a way out. */
const wantedShut = ({ wanted }: NetworkRow): boolean =>
  wanted !== null && (wanted.mode === 'nat' ? !wanted.nat : wanted.mode === 'isolated');

function natNode(lab: LabRow, network: NetworkRow, showFlows: boolean): NatNode {
  const on = passes(network);
  const { name } = network;
  const mode = (network.observed ?? network.wanted)?.mode ?? 'nat';
  const ghost = network.observed ? null : ghostOf(lab, network.reason);
  const device = interfaceOf(network);
  let sentence: string;
  if (on === null) {
    sentence = !ghost?.expected
      ? `${name} is not there`
      : wantedShut(network)
        ? `${name} will be isolated`
        : `Guests of ${name} will reach ${mode === 'nat' ? 'the internet' : 'the LAN'}`;
  } else if (device !== null) sentence = `Guests of ${name} are on the network behind ${device}`;
  else if (mode === 'bridged') sentence = `Guests of ${name} are on ${bridgeName(network)}`;
  else if (!on) sentence = `${name} is isolated`;
  else if (!hasWayOut(lab)) sentence = `${name} has no way out`;
  else if (network.observed?.proxyArp?.device)
    sentence = `Guests of ${name} have addresses of the LAN: proxy ARP on ${network.observed.proxyArp.device}`;
  else if (mode === 'routed') sentence = `Guests of ${name} keep their addresses on the LAN`;
  else sentence = `Guests of ${name} reach the internet`;
  return {
    kind: 'nat',
    key: natKey(network.id),
    selection: { kind: 'nat', id: network.id },
    network: network.id,
    name,
    mode,
    on,
    sentence,
    flows: showFlows && on === true && device === null ? lab.id : null,
    device: device ?? lab.uplink?.hostDevice ?? null,
    ghost,
  };
}

function l3Cables(
  uplink: UplinkNode,
  nat: NatNode,
  lab: LabRow,
  network: NetworkRow,
  linkByName: ReadonlyMap<string, LinkRow>,
  natsOn: number,
): Cable[] {
  const bridgeLink = linkByName.get(bridgeName(network))?.id ?? null;
  const uplinkLink = lab.uplink?.device ? (linkByName.get(lab.uplink.device)?.id ?? null) : null;
  const bridgeState = nat.on === null ? 'ghost' : nat.on ? 'up' : 'cut';
  const uplinkState = nat.on === null ? 'ghost' : uplink.ghost ? 'cut' : 'up';
  const way: Cable = {
    key: `cable:uplink:${network.id}`,
    layer: 'l3',
    state: uplinkState,
    from: end(uplink.key),
    to: end(nat.key),
    selection: uplink.selection,
    // What one network sends out is measured at the uplink only while no other network uses it.
    rate: uplinkState === 'up' ? (natsOn === 1 ? uplinkLink : bridgeLink) : null,
    heldTo: null,
    note:
      uplinkState === 'up'
        ? `${network.name} to the internet`
        : `${network.name} does not reach the internet`,
  };
  // With NAT off, or not even wanted, there is no way out to draw; another interface is a port of the bridge.
  const device = interfaceOf(network);
  const isolated = device !== null || nat.on === false || (nat.on === null && wantedShut(network));
  return [
    ...(isolated ? [] : [way]),
    {
      key: `cable:nat:${network.id}`,
      layer: 'l3',
      state: bridgeState,
      from: end(nat.key),
      to: end(bridgeKey(network.id)),
      selection: nat.selection,
      // A bridge counts only what is for this computer.
      rate: bridgeState !== 'up' ? null : device === null ? bridgeLink : (linkByName.get(device)?.id ?? null),
      heldTo: null,
      note: nat.sentence,
    },
  ];
}

/** ", held to 10mbit", or nothing. */
const heldWords = ({ shape }: NicState): string => {
  const words = shapeText(shape);
  return words && `, held to ${words}`;
};

const hasLink = (link: LinkRow): boolean => link.up && link.carrier;

function observedPort(
  link: LinkRow,
  held: { guest: GuestRow; nic: NicState } | undefined,
  network: NetworkRow,
): Port {
  const up = hasLink(link);
  const what = held
    ? `eth${held.nic.index} of ${held.guest.name}${heldWords(held.nic)}`
    : link.ours?.guest
      ? `of ${link.ours.guest}, which does not hold it`
      : link.name === interfaceOf(network)
        ? 'this computer’s interface to the network behind it'
        : `a ${link.kind || 'physical'} interface that Tapyard did not make`;
  return {
    key: `link:${link.id}`,
    selection: { kind: 'link', id: link.id },
    name: link.name,
    state: up ? 'up' : 'down',
    ours: link.ours !== null,
    note: `${what}${up ? '' : link.up ? ', no link' : ', set down'}`,
  };
}

function missingPort(guest: GuestRow, nic: NicState, tap: LinkRow | undefined, lab: LabRow): Port {
  const name = nic.tap ?? nic.wantedTap;
  let note: string;
  if (tap) note = `there, but not a port of ${nic.network}`;
  else if (nic.tap !== null) note = `held by ${guest.name}, but the kernel does not show it`;
  else if (lab.state !== 'up') note = `the lab is ${lab.state === 'failed' ? 'not up' : lab.state}`;
  else note = `made when ${guest.name} starts`;
  return {
    key: wantedPort(guest, nic),
    selection: tap ? { kind: 'link', id: tap.id } : { kind: 'guest', id: guest.id },
    name,
    state: 'ghost',
    ours: true,
    note,
  };
}

function l2Cable(bridge: NetworkRow, link: LinkRow, guest: GuestRow, nic: NicState): Cable {
  const up = hasLink(link);
  return {
    key: `cable:link:${link.id}`,
    layer: 'l2',
    state: up ? 'up' : 'cut',
    from: end(bridgeKey(bridge.id), `link:${link.id}`),
    to: end(guestKey(guest.id), null, nic.index),
    selection: { kind: 'link', id: link.id },
    rate: up ? link.id : null,
    heldTo: shapeText(nic.shape) || null,
    note: `${link.name} to eth${nic.index} of ${guest.name}${heldWords(nic)}${up ? '' : ': no link'}`,
  };
}

function bridgeNode(lab: LabRow, network: NetworkRow, ports: readonly Port[]): BridgeNode {
  const observed = network.observed;
  const { address: own = null, subnet = null } = network.wanted ?? {};
  const address = own === null || subnet === null ? null : `${own}/${subnet.split('/')[1] ?? ''}`;
  const services =
    !observed || observed.mode === 'bridged'
      ? ''
      : observed.dns === null
        ? 'no DHCP'
        : observed.dns.pid === null
          ? 'DHCP is down'
          : 'DHCP, DNS';
  return {
    kind: 'network',
    key: bridgeKey(network.id),
    selection: { kind: 'network', id: network.id },
    name: network.name,
    addresses: observed
      ? observed.addresses.filter((each) => !isLinkLocal(each))
      : address === null
        ? []
        : [address],
    services: observed && !observed.up ? 'set down' : services,
    portCount: observed ? count(observed.ports, 'port') : '',
    ports: [...ports].sort((a, b) => byName(a.name, b.name)),
    ghost: observed ? null : ghostOf(lab, network.reason),
  };
}

function guestNode(
  lab: LabRow,
  guest: GuestRow,
  networks: ReadonlyMap<string, NetworkRow>,
  links: ReadonlyMap<string, LinkRow>,
): GuestNode {
  const nics = guest.nics.map((nic): NicLine => {
    const link = nic.tap === null ? undefined : links.get(nic.tap);
    const words =
      link === undefined ? (guest.state === 'running' ? 'no tap' : null) : hasLink(link) ? null : 'no link';
    return {
      index: nic.index,
      label: `eth${nic.index}`,
      link: words === null ? (link?.id ?? null) : null,
      words,
    };
  });
  const cut = guest.state === 'running' ? nics.filter((nic) => nic.words !== null).length : 0;
  const addressed = guest.nics.find((nic) => nic.address !== null);
  const home = guest.nics[0] ? networks.get(guest.nics[0].network) : undefined;
  return {
    kind: 'guest',
    key: guestKey(guest.id),
    selection: { kind: 'guest', id: guest.id },
    id: guest.id,
    name: guest.name,
    state: guest.state,
    shape: shapeOf(guest.state, cut > 0),
    line: stateLine(guest, cut),
    address: addressed?.address ?? null,
    addressSure: addressed?.leased ?? false,
    nics,
    error: guest.error,
    home: home ? bridgeKey(home.id) : null,
    startable:
      guest.wanted && lab.state === 'up' && (guest.state === 'shut off' || guest.state === 'crashed'),
  };
}

function shapeOf(state: GuestRow['state'], cut: boolean): StateShape {
  switch (state) {
    case 'running':
      return cut ? 'cut' : 'running';
    case 'paused':
      return 'paused';
    case 'shut off':
      return 'off';
    case 'starting':
      return 'starting';
    case 'shutting down':
      return 'stopping';
    case 'crashed':
      return 'crashed';
  }
}

function stateLine(guest: GuestRow, cut: number): string {
  const words: string[] = [guest.state];
  if (cut > 0) words.push(cut === 1 ? 'one cable cut' : `${cut} cables cut`);
  else if (guest.state === 'crashed' && guest.stateReason) words.push(guest.stateReason);
  else words.push(guest.imageLabel);
  if (!guest.wanted) words.push('no longer in the file');
  return words.join(' · ');
}
