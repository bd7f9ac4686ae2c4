// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import type {
  ForwardProtocol,
  LabDefinition,
  NetworkDefinition,
  NetworkMode,
} from '../../contract/lab-file.ts';
import type { ShapeDefinition } from '../../contract/shape.ts';
import { formatIpv4, ipv4, subnetOf } from '../net/ipv4.ts';
import { freeSubnet, type UsedSubnet } from '../net/free-subnet.ts';
import { fixedSubnet, gatewayOf } from './rules.ts';

/** An address that DHCP keeps for a NIC. */
export interface Reservation {
  readonly mac: string;
  readonly address: string;
  readonly guest: string;
}

/** A network with a bridge of its own, every default filled in. */
export interface OwnNetwork {
  readonly name: string;
  readonly mode: 'nat' | 'routed' | 'isolated';
  /** CIDR. */
  readonly subnet: string;
  /** Of the subnet, 8 to 30. */
  readonly prefix: number;
  /** The bridge's own address. */
  readonly address: string;
  /** CIDR, a /64; null for no IPv6. */
  readonly ipv6: string | null;
  /** The bridge's MAC address. */
  readonly mac: string;
  readonly mtu: number;
  /** The switch of mode `nat`; false in the others. */
  readonly nat: boolean;
  /** The LAN gets an answer to ARP for the guests; of mode `routed` alone. */
  readonly proxyArp: boolean;
  /** Each guest may send with its own addresses only. */
  readonly antispoof: boolean;
  /** null: no DHCP. */
  readonly dhcp: {
    readonly from: string;
    readonly to: string;
    readonly reservations: readonly Reservation[];
  } | null;
  readonly uplink: null;
  readonly interface: null;
}

/** A network whose guests are on somebody else's; everything else is the business of that. */
interface Bridged {
  readonly name: string;
  readonly mode: 'bridged';
  readonly subnet: null;
  readonly address: null;
  readonly ipv6: null;
  readonly mac: string;
  readonly mtu: number;
  readonly nat: false;
  /** Each guest may send with its own MAC address only, and play neither DHCP server nor router. */
  readonly antispoof: boolean;
  readonly dhcp: null;
}

/** A network that is a bridge of the administrator's. */
export interface UplinkNetwork extends Bridged {
  readonly uplink: string;
  readonly interface: null;
}

/** A network whose bridge has an interface of this computer's as a port. */
export interface InterfaceNetwork extends Bridged {
  readonly uplink: null;
  readonly interface: string;
}

/** A network with every default filled in. */
export type ResolvedNetwork = OwnNetwork | UplinkNetwork | InterfaceNetwork;

/** Whether netd makes a bridge for it. */
export const hasBridge = (network: ResolvedNetwork): network is OwnNetwork | InterfaceNetwork =>
  network.uplink === null;

/** Whether its guests have a subnet of its own. */
export const isOwn = (network: ResolvedNetwork): network is OwnNetwork => network.mode !== 'bridged';

/** A NIC with every default filled in. */
export interface ResolvedNic {
  readonly index: number;
  readonly network: string;
  readonly mac: string;
  /** The tap's preferred name; netd picks another where it is taken. */
  readonly tap: string;
  /** null: DHCP picks one from its range. */
  readonly address: string | null;
  /** Empty for none. */
  readonly shape: ShapeDefinition;
}

/** A forward with every default filled in. */
export interface ResolvedForward {
  /** Where it listens. */
  readonly address: string;
  readonly port: number;
  /** The guest's port. */
  readonly to: number;
  readonly protocol: ForwardProtocol;
}

/** A guest with every default filled in. */
export interface ResolvedGuest {
  readonly name: string;
  /** As in the file: `micro` or a path. */
  readonly image: string;
  /** Bytes. */
  readonly memory: number;
  readonly cpus: number;
  readonly nics: readonly ResolvedNic[];
  readonly forwards: readonly ResolvedForward[];
}

/** A lab as it is to be made, in the order of the file. */
export interface ResolvedLab {
  readonly name: string;
  readonly networks: readonly ResolvedNetwork[];
  readonly guests: readonly ResolvedGuest[];
}

/**
 * The subnets of the networks whose file leaves them to Tapyard: those that are kept, and a free one for each
 * that has none yet.
 */
export function chooseSubnets(
  { name: lab, networks }: LabDefinition,
  kept: ReadonlyMap<string, string>,
  used: readonly UsedSubnet[],
): ReadonlyMap<string, string> {
  const own = Object.entries(networks).flatMap(([by, network]): UsedSubnet[] => {
    const cidr = fixedSubnet(network) ?? kept.get(by);
    return cidr === undefined ? [] : [{ subnet: subnetOf(cidr), by }];
  });
  const taken = [...used, ...own];
  const chosen = new Map<string, string>();
  for (const [name, network] of Object.entries(networks)) {
    if (network.mode === 'bridged' || fixedSubnet(network) !== undefined) continue;
    const cidr = kept.get(name) ?? freeSubnet([lab, name], taken);
    chosen.set(name, cidr);
    taken.push({ subnet: subnetOf(cidr), by: name });
  }
  return chosen;
}

/**
 * Fills in everything that the file leaves out; `chosen` are the subnets that it does not say. Pure and
 * deterministic: the same file gives the same lab.
 */
export function resolveLab(
  definition: LabDefinition,
  chosen = chooseSubnets(definition, new Map(), []),
): ResolvedLab {
  const macs = new Set(
    Object.values(definition.guests).flatMap((guest) => guest.nics.flatMap((nic) => nic.mac ?? [])),
  );
  const taps = tapNames(new Set(Object.keys(definition.networks)));
  const guests = Object.entries(definition.guests).map(([name, guest]): ResolvedGuest => {
    const nics = guest.nics.map((nic, index): ResolvedNic => ({
      index,
      network: nic.network,
      mac: nic.mac ?? freeMac(macs, ['nic', definition.name, name, String(index)]),
      tap: taps(),
      address: nic.address ?? null,
      shape: nic.shape ?? {},
    }));
    const forwards = guest.forwards.map((forward) => ({ ...forward, to: forward.to ?? forward.port }));
    return {
      name,
      image: guest.image,
      memory: memoryBytes(guest.memory),
      cpus: guest.cpus,
      nics,
      forwards,
    };
  });
  const networks = Object.entries(definition.networks).map(([name, network]): ResolvedNetwork => {
    const { mode, uplink, mtu = 1500 } = network;
    const subnet = fixedSubnet(network) ?? chosen.get(name) ?? '';
    const mac = freeMac(macs, ['bridge', definition.name, name]);
    if (mode === 'bridged')
      return {
        name,
        mode,
        ...(uplink === undefined
          ? { uplink: null, interface: network.interface ?? '' }
          : { uplink, interface: null }),
        subnet: null,
        address: null,
        ipv6: null,
        mac,
        mtu,
        nat: false,
        antispoof: network.antispoof ?? true,
        dhcp: null,
      };
    return {
      name,
      mode,
      subnet,
      prefix: subnetOf(subnet).prefix,
      address: formatIpv4(gatewayOf(subnet, network.address)),
      ipv6: ipv6Of(definition.name, name, network.ipv6),
      mac,
      mtu,
      nat: mode === 'nat' && network.nat !== false,
      proxyArp: mode === 'routed' && network.proxyArp === true,
      antispoof: network.antispoof ?? network.dhcp !== false,
      dhcp: dhcpOf(name, subnet, network.dhcp, guests),
      uplink: null,
      interface: null,
    };
  });
  return { name: definition.name, networks, guests };
}

/** Whether packets are forwarded between a network's bridge and the uplink. */
export const forwards = (mode: NetworkMode): boolean => mode === 'nat' || mode === 'routed';

/** Whether a network's guests have a way out. */
export const reachesOut = ({ mode, nat }: Pick<ResolvedNetwork, 'mode' | 'nat'>): boolean =>
  mode === 'nat' ? nat : mode !== 'isolated';

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/**
 * A network's IPv6 subnet. RFC 4193 wants 40 random bits behind fd; here the lab's name gives them, so that they
 * are always the same, and the network's name the 16 of the subnet.
 */
function ipv6Of(lab: string, network: string, wanted: NetworkDefinition['ipv6']): string | null {
  if (typeof wanted === 'string') return wanted;
  if (wanted !== true) return null;
  const [global, subnet] = [sha256(`lab ${lab}`), sha256(`network ${lab}/${network}`)];
  const groups = [
    `fd${global.slice(0, 2)}`,
    ...[global.slice(2, 6), global.slice(6, 10), subnet.slice(0, 4)].map((group) =>
      Number.parseInt(group, 16).toString(16),
    ),
  ];
  return `${groups.join(':')}::/64`;
}

/** The IPv6 address with the number that an IPv4 address has in its subnet; null where there is no IPv6. */
export function ipv6AddressOf({ subnet, ipv6 }: OwnNetwork, address: string): string | null {
  if (ipv6 === null) return null;
  const number = ipv4(address) - subnetOf(subnet).network;
  const low = (number % 65_536).toString(16);
  const high = Math.floor(number / 65_536).toString(16);
  return `${ipv6.replace('::/64', '::')}${high === '0' ? '' : `${high}:`}${low}`;
}

/** Bytes of a size such as `256M` (binary units, as QEMU's `-m`). */
export function memoryBytes(size: string): number {
  return Number(size.slice(0, -1)) * (size.endsWith('G') ? 2 ** 30 : 2 ** 20);
}

function dhcpOf(
  name: string,
  cidr: string,
  wanted: NetworkDefinition['dhcp'],
  guests: readonly ResolvedGuest[],
): OwnNetwork['dhcp'] {
  if (wanted === false) return null;
  const subnet = subnetOf(cidr);
  const middle = subnet.network + (subnet.broadcast + 1 - subnet.network) / 2;
  const range = wanted ?? { from: formatIpv4(middle), to: formatIpv4(subnet.broadcast - 1) };
  const reservations = guests.flatMap((guest) =>
    guest.nics.flatMap((nic) =>
      nic.network === name && nic.address !== null
        ? [{ mac: nic.mac, address: nic.address, guest: guest.name }]
        : [],
    ),
  );
  return { from: range.from, to: range.to, reservations };
}

/** tap0, tap1 … in the order of the file, without names that a network of the lab has. */
function tapNames(taken: ReadonlySet<string>): () => string {
  let next = 0;
  return () => {
    while (taken.has(`tap${next}`)) next++;
    return `tap${next++}`;
  };
}

/** A MAC address under QEMU's prefix that is always the same for the same thing, and nobody else's in the lab. */
function freeMac(taken: Set<string>, what: readonly string[]): string {
  for (let attempt = 0; ; attempt++) {
    const hash = createHash('sha256')
      .update(JSON.stringify([...what, attempt]))
      .digest('hex');
    const mac = `52:54:00:${hash.slice(0, 2)}:${hash.slice(2, 4)}:${hash.slice(4, 6)}`;
    if (taken.has(mac)) continue;
    taken.add(mac);
    return mac;
  }
}
