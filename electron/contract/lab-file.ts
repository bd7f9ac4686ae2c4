// SPDX-License-Identifier: Apache-2.0
import { GuestName, Ipv4, Ipv4Cidr, Ipv6Subnet, LabName, MacAddress, NetworkName } from './names.ts';
import { ShapeDefinition } from './shape.ts';
import { z } from './zod.ts';

/** A size such as `256M` or `2G` (binary units, as QEMU's `-m`), or a whole number of bytes. */
export const MemorySize = z.string().regex(/^[1-9][0-9]{0,6}[MG]$/, 'a size such as 256M or 2G');

/** A range of addresses that DHCP hands out to guests without an address of their own. */
export const DhcpRange = z.strictObject({ from: Ipv4, to: Ipv4 });

/** What the guests of a network reach, in the words of libvirt's forward modes. */
export const NetworkMode = z.enum(['nat', 'routed', 'isolated', 'bridged']);
export type NetworkMode = z.infer<typeof NetworkMode>;

/** One network of the lab file: it becomes one bridge. */
export const NetworkDefinition = z.strictObject({
  /**
   * IPv4 subnet; the bridge takes `address`, by default the first address in it. `auto`, the default: a free
   * /24 that stays the network's. None where it is bridged.
   */
  subnet: Ipv4Cidr.or(z.literal('auto')).optional(),
  /** The bridge's own address: the guests' gateway and DNS server. */
  address: Ipv4.optional(),
  /**
   * `nat`: the internet, masqueraded; `routed`: the LAN, under their own addresses; `isolated`: each other;
   * `bridged`: they are on the bridge `uplink` of this computer, or on the network behind its `interface`.
   */
  mode: NetworkMode.default('nat'),
  /** `true`: a subnet of unique local addresses made from the names; or one of your own. By default none. */
  ipv6: Ipv6Subnet.or(z.boolean()).optional(),
  /**
   * Of a routed network: its `subnet` is a part of the LAN's own, and this computer answers the LAN's ARP for its
   * guests. So they have addresses of the LAN where a bridge cannot be, as behind Wi-Fi.
   */
  proxyArp: z.boolean().optional(),
  /** A bridge that an administrator made, for a network with mode `bridged`. */
  uplink: NetworkName.optional(),
  /** Instead of it, an interface that this computer has no use for: a port of the network's own bridge. */
  interface: NetworkName.optional(),
  /** The switch of a network with mode `nat`, by default on; in other modes there is none. */
  nat: z.boolean().optional(),
  /** MTU in bytes, 576 to 65535, by default 1500. */
  mtu: z.number().int().min(576).max(65535).optional(),
  /** The DHCP range; by default the second half of the subnet. `false` turns DHCP off. */
  dhcp: DhcpRange.or(z.literal(false)).optional(),
  /** Whether each guest may send with its own addresses only; by default it is so wherever there is DHCP. */
  antispoof: z.boolean().optional(),
});
export type NetworkDefinition = z.infer<typeof NetworkDefinition>;

/** One NIC of a guest: it becomes one tap, a port of the network's bridge. */
export const NicDefinition = z.strictObject({
  network: NetworkName,
  /** Reserved for this NIC's MAC, so it is known before the guest boots; without it DHCP picks one. */
  address: Ipv4.optional(),
  /** By default derived from lab, guest and index, so it stays the same. */
  mac: MacAddress.optional(),
  /** What its traffic is held to in each direction; by default nothing. */
  shape: ShapeDefinition.optional(),
});
export type NicDefinition = z.infer<typeof NicDefinition>;

/** A port of TCP or UDP. */
export const Port = z.number().int().min(1).max(65_535);

/** What a forward carries. */
export const ForwardProtocol = z.enum(['tcp', 'udp']);
export type ForwardProtocol = z.infer<typeof ForwardProtocol>;

/** A port of this computer that leads to one of a guest. */
export const ForwardDefinition = z.strictObject({
  /** The port to listen on. */
  port: Port,
  /** The guest's port; by default the same. */
  to: Port.optional(),
  /**
   * Where to listen: 127.0.0.1, the default, is for this computer's programs only; another of its addresses, or
   * 0.0.0.0 for all of them, lets the network in.
   */
  address: Ipv4.default('127.0.0.1'),
  /** UDP goes by a rule of the kernel's alone: in the host scope, at the uplink's addresses. */
  protocol: ForwardProtocol.default('tcp'),
});
export type ForwardDefinition = z.infer<typeof ForwardDefinition>;

/** Where a forward listens, by which it is known. */
export type Listening = Pick<ForwardDefinition, 'address' | 'port' | 'protocol'>;
/** For people: `127.0.0.1:8080`, `0.0.0.0:53/udp`. */
export const listeningText = ({ address, port, protocol }: Listening): string =>
  `${address}:${port}${protocol === 'udp' ? '/udp' : ''}`;

/** One guest of the lab file. */
export const GuestDefinition = z.strictObject({
  /** `micro` (built in), or the path of a qcow2, raw or ISO file, absolute or relative to the lab file. */
  image: z.string().min(1, 'an image is needed').max(4096),
  memory: MemorySize.default('256M'),
  cpus: z.number().int().min(1).max(64).default(1),
  nics: z.array(NicDefinition).max(8, 'a guest has at most 8 NICs').default([]),
  forwards: z.array(ForwardDefinition).max(32, 'a guest has at most 32 forwards').default([]),
});
export type GuestDefinition = z.infer<typeof GuestDefinition>;

/** The lab file (`tapyard.yaml`), as DESIGN section 5 shows it. Unknown keys are errors. */
export const LabDefinition = z.strictObject({
  name: LabName,
  networks: z.record(NetworkName, NetworkDefinition).default({}),
  guests: z.record(GuestName, GuestDefinition).default({}),
});
export type LabDefinition = z.infer<typeof LabDefinition>;

/** One thing that is wrong with a lab file. `line` and `column` count from 1. */
export const FileProblem = z.strictObject({
  line: z.number().int().min(1),
  column: z.number().int().min(1),
  /** Where in the document, such as `guests.web.nics.0.address`. */
  path: z.string(),
  message: z.string(),
  /** What was expected there, as a short phrase. */
  expected: z.string().optional(),
});
export type FileProblem = z.infer<typeof FileProblem>;
