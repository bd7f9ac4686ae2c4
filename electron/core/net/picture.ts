// SPDX-License-Identifier: Apache-2.0
import { firewallNames } from '../../contract/doors.ts';
import type { ErrorData } from '../../contract/error.ts';
import type { LabDefinition } from '../../contract/lab-file.ts';
import type { LinkRow, NetworkRow, Uplink, Uplink6 } from '../../contract/rows.ts';
import { overlapping, type UsedSubnet } from './free-subnet.ts';
import { contains, formatSubnet, subnetOf } from './ipv4.ts';
import { overlap6 } from './ipv6.ts';
import {
  forwards,
  type InterfaceNetwork,
  isOwn,
  type OwnNetwork,
  type ResolvedNetwork,
} from '../lab/resolve.ts';
import type {
  NetdEvent,
  NetdLink,
  NetdNetwork,
  NetdSnapshot,
  NetdUplink,
  NetdUplink6,
} from './netd-protocol.ts';

/** What netd has told of one namespace so far. Immutable: an event makes a new one. */
export interface Picture {
  readonly links: ReadonlyMap<number, NetdLink>;
  /** By `lab/name`. */
  readonly networks: ReadonlyMap<string, NetdNetwork>;
  readonly uplink: NetdUplink;
}

/** The picture that a snapshot gives. */
export function pictureOf(snapshot: NetdSnapshot): Picture {
  return {
    links: new Map(snapshot.links.map((link) => [link.ifindex, link])),
    networks: new Map(snapshot.networks.map((network) => [`${network.lab}/${network.name}`, network])),
    uplink: snapshot.uplink,
  };
}

/** The picture after an event. */
export function withEvent(picture: Picture, event: NetdEvent): Picture {
  switch (event.event) {
    case 'links': {
      const links = new Map(picture.links);
      for (const ifindex of event.del) links.delete(ifindex);
      for (const link of event.put) links.set(link.ifindex, link);
      return { ...picture, links };
    }
    case 'networks': {
      const networks = new Map(picture.networks);
      for (const { lab, name } of event.del) networks.delete(`${lab}/${name}`);
      for (const network of event.put) networks.set(`${network.lab}/${network.name}`, network);
      return { ...picture, networks };
    }
    case 'uplink':
      return { ...picture, uplink: event.uplink };
    case 'acts':
    default:
      return picture;
  }
}

/** A lab's network as netd has it. */
export function networkIn(picture: Picture | null, lab: string, name: string): NetdNetwork | undefined {
  return picture?.networks.get(`${lab}/${name}`);
}

/** The bridge of a lab's network, where the kernel has it. */
export function bridgeIn(picture: Picture | null, lab: string, name: string): NetdLink | undefined {
  const index = networkIn(picture, lab, name)?.bridge;
  return index === undefined || index === null ? undefined : picture?.links.get(index);
}

/** Whether an interface of the host's is a port of the network's bridge, where it is to be one. */
export function hasPort(picture: Picture | null, bridge: NetdLink, device: string | null): boolean {
  return device === null || (picture && linkNamed(picture, device)?.master) === bridge.ifindex;
}

function linkNamed(picture: Picture, name: string): NetdLink | undefined {
  for (const link of picture.links.values()) if (link.name === name) return link;
  return undefined;
}

/** The tap of a guest's NIC, where the kernel has it. */
export function tapIn(
  picture: Picture | null,
  lab: string,
  guest: string,
  nic: number,
): NetdLink | undefined {
  for (const link of picture?.links.values() ?? [])
    // What shapes a tap (an ifb) has its label as well.
    if (link.kind === 'tun' && link.ours?.lab === lab && link.ours.guest === guest && link.ours.nic === nic)
      return link;
  return undefined;
}

/** The uplink as the lab's row has it. */
export function uplinkRow(uplink: NetdUplink): Uplink {
  return {
    provider: uplink.provider,
    device: uplink.device,
    hostDevice: uplink.host_device,
    addresses: uplink.addresses,
    gateway: uplink.gateway,
    reason: uplink.reason,
    ipv6: uplink.ipv6 ? uplink6Row(uplink.ipv6) : null,
  };
}

const uplink6Row = ({ host_device: hostDevice, device, gateway, router, reason }: NetdUplink6): Uplink6 => ({
  device,
  hostDevice,
  gateway,
  router,
  reason,
});

/** Every interface of the namespace, for the lab's map. */
export function linkRows(lab: string, picture: Picture | null): LinkRow[] {
  return [...(picture?.links.values() ?? [])].map((link) => ({
    id: `${lab}/${link.ifindex}`,
    lab,
    ifindex: link.ifindex,
    name: link.name,
    kind: link.kind,
    master: link.master === null ? null : (picture?.links.get(link.master)?.name ?? null),
    up: link.up,
    carrier: link.carrier,
    operstate: link.operstate,
    mac: link.mac,
    mtu: link.mtu,
    addresses: link.addresses,
    ours:
      link.ours === null || link.ours.lab !== lab
        ? null
        : { network: link.ours.network, guest: link.ours.guest ?? null, nic: link.ours.nic ?? null },
  }));
}

/**
 * The lab's networks: those of the file, and those that the kernel still has without it.
 * `definitions` are those of the file, `failures` the errors of the last attempt to make a network, by its name.
 */
export function networkRows(
  lab: string,
  wanted: readonly ResolvedNetwork[],
  definitions: LabDefinition['networks'],
  picture: Picture | null,
  failures: ReadonlyMap<string, ErrorData>,
): NetworkRow[] {
  const names = new Set(wanted.map((network) => network.name));
  const others = [...(picture?.networks.values() ?? [])].filter(
    (network) => network.lab === lab && !names.has(network.name),
  );
  const row = (name: string, network?: ResolvedNetwork): NetworkRow => ({
    ...networkRow(lab, name, network, picture, failures.get(name)),
    definition: definitions[name] ?? null,
  });
  return [
    ...wanted.map((network) => row(network.name, network)),
    ...others.map((network) => row(network.name)),
  ];
}

function networkRow(
  lab: string,
  name: string,
  wanted: ResolvedNetwork | undefined,
  picture: Picture | null,
  failure: ErrorData | undefined,
): Omit<NetworkRow, 'definition'> {
  const network = networkIn(picture, lab, name);
  const bridge = bridgeIn(picture, lab, name);
  return {
    id: `${lab}/${name}`,
    lab,
    name,
    wanted: wanted
      ? {
          subnet: wanted.subnet,
          address: wanted.address,
          mode: wanted.mode,
          ipv6: wanted.ipv6,
          uplink: wanted.uplink,
          interface: wanted.interface,
          nat: wanted.nat,
          antispoof: wanted.antispoof,
          mtu: wanted.mtu,
        }
      : null,
    observed:
      network && bridge
        ? {
            ifindex: bridge.ifindex,
            addresses: bridge.addresses,
            mac: bridge.mac,
            mtu: bridge.mtu,
            up: bridge.up,
            mode: network.mode,
            nat: network.nat,
            antispoof: network.antispoof,
            forwarding: network.forwarding,
            proxyArp: network.proxy_arp
              ? { device: network.proxy_arp.device, addresses: network.proxy_arp.addresses }
              : null,
            doors: network.doors.map(({ chain, firewall, state, command }) => ({
              chain,
              firewall,
              state,
              command,
            })),
            dns: network.dns,
            hostNames: network.host_names ?? null,
            ports: [...(picture?.links.values() ?? [])].filter((link) => link.master === bridge.ifindex)
              .length,
          }
        : null,
    reason: failure ?? deviation(lab, name, wanted, network, bridge, picture) ?? null,
  };
}

interface UsedSubnet6 {
  /** CIDR. */
  readonly subnet: string;
  readonly by: string;
}

const usedBy = (by: string, addresses: readonly string[]): UsedSubnet[] =>
  addresses.flatMap((cidr) => (cidr.includes(':') ? [] : [{ subnet: subnetOf(cidr), by }]));

/** What the uplink, the other interfaces of the namespace, and the host where those are not its own, use. */
function othersIn({ uplink, links }: Picture, bridge: NetdLink): UsedSubnet[] {
  return [
    ...(uplink.host_subnets ?? []).flatMap(({ net, device }) => usedBy(device, [net])),
    ...usedBy(uplink.host_device ?? 'the uplink', uplink.addresses),
    ...[...links.values()].flatMap((link) =>
      link.ifindex === bridge.ifindex ? [] : usedBy(link.name, link.addresses),
    ),
  ];
}

/** Whose address in the namespace an IPv6 subnet has in it, as {@link othersIn} of IPv4. */
function other6In({ uplink, links }: Picture, bridge: NetdLink, cidr: string): UsedSubnet6 | undefined {
  const addresses = [...links.values()]
    .filter(({ ifindex }) => ifindex !== bridge.ifindex)
    .flatMap((link) => link.addresses.map((subnet) => ({ subnet, by: link.name })));
  const all = [
    ...(uplink.host_subnets ?? []).map(({ net, device }) => ({ subnet: net, by: device })),
    ...uplink.addresses.map((subnet) => ({ subnet, by: uplink.host_device ?? 'the uplink' })),
    ...addresses,
  ];
  return all.find(({ subnet }) => subnet.includes(':') && overlap6(cidr, subnet));
}

/** Whether a subnet in use is not one that a network's is a part of. */
const isNoWhole = ({ subnet }: OwnNetwork): ((other: UsedSubnet) => boolean) => {
  const { network, broadcast, prefix } = subnetOf(subnet);
  return ({ subnet: other }) =>
    other.prefix >= prefix || !contains(other, network) || !contains(other, broadcast);
};

const again = 'Bring the lab up again to mend it: tapyard up.';

/** How the kernel differs from what is wanted, the gravest first; undefined when it does not. */
function deviation(
  lab: string,
  name: string,
  wanted: ResolvedNetwork | undefined,
  network: NetdNetwork | undefined,
  bridge: NetdLink | undefined,
  picture: Picture | null,
): ErrorData | undefined {
  const say = (code: ErrorData['code'], message: string, hint: string): ErrorData => ({
    code,
    message,
    hint,
    subject: `${lab}/${name}`,
  });
  if (!wanted) return say('NO_SUCH_NETWORK', `Network ${name} is no longer in the lab file.`, again);
  if (!picture)
    return say('LAB_NOT_UP', `The lab is down, so there is no bridge ${name}.`, 'Bring the lab up.');
  if (!network) return say('NO_SUCH_NETWORK', `The bridge ${name} has not been made.`, again);
  if (!bridge) return say('NO_SUCH_NETWORK', `Somebody removed the bridge ${name}.`, again);
  if (!bridge.up) return say('KERNEL', `The bridge ${name} is switched off.`, again);
  if (wanted.antispoof && !network.antispoof)
    return say('KERNEL', `Nothing keeps the guests of ${name} from sending as others.`, again);
  if (wanted.interface !== null) return portDeviation(wanted, network, bridge, picture, say);
  if (!isOwn(wanted)) return undefined;
  const cidr = `${wanted.address}/${wanted.prefix}`;
  if (!bridge.addresses.includes(cidr))
    return say('KERNEL', `The bridge ${name} has lost its address ${cidr}.`, again);
  if (!network.filter) return say('KERNEL', `The packet filter no longer holds network ${name}.`, again);
  if (wanted.mode !== network.mode)
    return say('KERNEL', `Network ${name} is ${network.mode}; the lab file says ${wanted.mode}.`, again);
  if (forwards(wanted.mode) !== network.forwarding)
    return say(
      'KERNEL',
      `The kernel ${network.forwarding ? 'forwards' : 'does not forward'} what comes from ${name}.`,
      again,
    );
  // Behind pasta this computer itself is not in doubt.
  const confused = `Guests${picture.uplink.host_subnets ? '' : ' and this computer'} cannot tell the two apart.`;
  const others = othersIn(picture, bridge);
  // A part of the LAN's subnet is meant to be one; whether it is, netd says.
  const other = overlapping(wanted.subnet, wanted.proxyArp ? others.filter(isNoWhole(wanted)) : others);
  if (other)
    return say(
      'SUBNET_OVERLAP',
      `${wanted.subnet} of ${name} overlaps ${formatSubnet(other.subnet)} of ${other.by}, which is there now.`,
      `${confused} Give the network another subnet; with subnet: auto, bring the lab down and up.`,
    );
  const other6 = wanted.ipv6 === null ? undefined : other6In(picture, bridge, wanted.ipv6);
  if (other6)
    return say(
      'SUBNET_OVERLAP',
      `${wanted.ipv6} of ${name} overlaps ${other6.subnet} of ${other6.by}, which is there now.`,
      `${confused} Give the network another ipv6 subnet.`,
    );
  if (wanted.dhcp && (network.dns?.pid ?? null) === null)
    return say('DNSMASQ_FAILED', `The DHCP and DNS server of ${name} does not run.`, again);
  const { proxy_arp: proxy } = network;
  if (wanted.proxyArp && proxy?.reason)
    return say(
      proxy.reason.code,
      `The LAN does not reach the guests of ${name}: ${proxy.reason.message}`,
      proxy.reason.hint ?? again,
    );
  return doorDeviation(network, say);
}

type Say = (code: ErrorData['code'], message: string, hint: string) => ErrorData;

/** What another firewall drops. */
function doorDeviation({ name, doors }: NetdNetwork, say: Say): ErrorData | undefined {
  const shut = doors.find((door) => door.state === 'shut');
  return (
    shut &&
    say(
      'DOOR_SHUT',
      `The chain ${shut.chain} of ${firewallNames[shut.firewall]} drops what guests of ${name} send: ${shut.reason ?? 'nobody let it through'}.`,
      shut.command ? `Let it through yourself: ${shut.command}` : again,
    )
  );
}

/** What others have done meanwhile to the interface that a network's bridge has as a port. */
function portDeviation(
  { name, interface: device }: InterfaceNetwork,
  network: NetdNetwork,
  bridge: NetdLink,
  picture: Picture,
  say: Say,
): ErrorData | undefined {
  const port = linkNamed(picture, device);
  const alone = `The guests of ${name} reach only each other`;
  if (!port)
    return say(
      'NO_SUCH_INTERFACE',
      `${alone}: ${device} is gone.`,
      `Plug it in, and bring the lab up again: tapyard up.`,
    );
  if (port.master !== bridge.ifindex)
    return say('INTERFACE_IN_USE', `${alone}: somebody took ${device} out of the bridge ${name}.`, again);
  if (port.addresses.length > 0)
    return say(
      'INTERFACE_IN_USE',
      `Somebody gave ${device} ${port.addresses.join(', ')}: as a port of ${name} it cannot use it.`,
      `Take it off: ip addr flush dev ${device}; or use another interface for ${name}.`,
    );
  if (!port.up) return say('KERNEL', `${alone}: ${device} is switched off.`, again);
  if (!network.filter || network.forwarding)
    return say('KERNEL', `This computer is not shut off from the network behind ${device} any more.`, again);
  return doorDeviation(network, say);
}
