// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import type { LabDefinition, NetworkDefinition, NetworkMode } from '../../contract/lab-file.ts';
import { formatIpv4, subnetOf } from '../net/ipv4.ts';
import { gatewayOf } from './rules.ts';

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
  /** The bridge's MAC address. */
  readonly mac: string;
  readonly mtu: number;
  /** The switch of mode `nat`; false in the others. */
  readonly nat: boolean;
  /** Each guest may send with its own addresses only. */
  readonly antispoof: boolean;
  /** null: no DHCP. */
  readonly dhcp: {
    readonly from: string;
    readonly to: string;
    readonly reservations: readonly Reservation[];
  } | null;
  readonly uplink: null;
}

/** A network that is a bridge of the administrator's; everything else is that bridge's business. */
export interface BridgedNetwork {
  readonly name: string;
  readonly mode: 'bridged';
  readonly uplink: string;
  readonly subnet: null;
  readonly address: null;
  readonly mac: string;
  readonly mtu: number;
  readonly nat: false;
  readonly antispoof: false;
  readonly dhcp: null;
}

/** A network with every default filled in. */
export type ResolvedNetwork = OwnNetwork | BridgedNetwork;

/** Whether netd makes a bridge for it. */
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
}

/** A forward with every default filled in. */
export interface ResolvedForward {
  /** Where it listens. */
  readonly address: string;
  readonly port: number;
  /** The guest's port. */
  readonly to: number;
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

/** Fills in everything that the file leaves out. Pure and deterministic: the same file gives the same lab. */
export function resolveLab(definition: LabDefinition): ResolvedLab {
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
    }));
    const forwards = guest.forwards.map(({ address, port, to }) => ({ address, port, to: to ?? port }));
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
    const { mode, subnet = '', uplink = '', mtu = 1500 } = network;
    const mac = freeMac(macs, ['bridge', definition.name, name]);
    if (mode === 'bridged')
      return {
        name,
        mode,
        uplink,
        subnet: null,
        address: null,
        mac,
        mtu,
        nat: false,
        antispoof: false,
        dhcp: null,
      };
    return {
      name,
      mode,
      subnet,
      prefix: subnetOf(subnet).prefix,
      address: formatIpv4(gatewayOf(subnet, network.address)),
      mac,
      mtu,
      nat: mode === 'nat' && network.nat !== false,
      antispoof: network.antispoof ?? network.dhcp !== false,
      dhcp: dhcpOf(name, subnet, network.dhcp, guests),
      uplink: null,
    };
  });
  return { name: definition.name, networks, guests };
}

/** Whether packets are forwarded between a network's bridge and the uplink. */
export const forwards = (mode: NetworkMode): boolean => mode === 'nat' || mode === 'routed';

/** Whether a network's guests have a way out. */
export const reachesOut = ({ mode, nat }: Pick<ResolvedNetwork, 'mode' | 'nat'>): boolean =>
  mode === 'nat' ? nat : mode !== 'isolated';

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
