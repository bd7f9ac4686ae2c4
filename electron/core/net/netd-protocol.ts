// SPDX-License-Identifier: Apache-2.0
import { ErrorData } from '../../contract/error.ts';
import { NetworkMode } from '../../contract/lab-file.ts';
import { GuestName, LabName, NetworkName, Scope } from '../../contract/names.ts';
import { z } from '../../contract/zod.ts';
import { NetdAct } from './netd-acts.ts';

/*
 * docs/netd-protocol.md as schemas of what netd sends. Unknown keys are dropped, not refused: a newer netd
 * may tell more. What we send is checked by netd itself, which trusts nobody.
 */

/** Raised whenever an older peer could not understand. */
export const protocolVersion = 1;

/** The longest line that netd accepts, bytes with its LF. */
export const requestLimit = 65_536;

const count = z.number().int().nonnegative();

/** Whose interface, by label and journal. */
const Owner = z.object({
  lab: LabName,
  network: NetworkName,
  guest: GuestName.optional(),
  nic: count.optional(),
});

/** What each direction of a NIC is held to: bit/s, µs twice, packets of a million. 0 is none. */
export const NetdShape = z.object({ rate: count, delay: count, jitter: count, loss: count });
export type NetdShape = z.infer<typeof NetdShape>;

/** One interface of the bridge's namespace. */
export const NetdLink = z.object({
  ifindex: count,
  name: z.string(),
  /** "bridge", "tun", "veth"; "" for a physical one. */
  kind: z.string(),
  /** ifindex of the bridge that it is a port of. */
  master: count.nullable(),
  up: z.boolean(),
  carrier: z.boolean(),
  operstate: z.string(),
  mac: z.string(),
  mtu: count,
  alias: z.string(),
  addresses: z.array(z.string()),
  ours: Owner.nullable(),
  /** Of a tap that is held to one, read back. */
  shape: NetdShape.optional(),
});
export type NetdLink = z.infer<typeof NetdLink>;

/** A chain of another firewall's that would drop a network's packets. */
export const NetdDoor = z.object({
  /** `ip filter FORWARD` */
  chain: z.string(),
  firewall: z.enum(['docker', 'firewalld', 'ufw', 'iptables', 'nftables']),
  /** Whether netd's accept is there; `unseen`: whether one is needed is root's to see. */
  state: z.enum(['open', 'opening', 'shut', 'unseen']),
  /** What the user can do where netd could not, and why it could not. */
  command: z.string().nullable(),
  reason: z.string().nullable(),
});
export type NetdDoor = z.infer<typeof NetdDoor>;

/** Whether the host's systemd-resolved asks a network's DNS server for the guests' names. */
export const NetdHostNames = z.object({
  state: z.enum(['set', 'asking', 'refused']),
  /** What the user can do where netd could not, and why it could not. */
  command: z.string().nullable(),
  reason: z.string().nullable(),
});
export type NetdHostNames = z.infer<typeof NetdHostNames>;

/** A port of the host's, on the LAN, that leads to a guest's by rule. */
export const NetdExposure = z.object({
  /** One of the uplink's addresses; 0.0.0.0 for all that it has. */
  address: z.string(),
  protocol: z.enum(['tcp', 'udp']),
  port: count,
  to: z.string(),
  to_port: count,
});
export type NetdExposure = z.infer<typeof NetdExposure>;

/** How the LAN gets answers for a network's addresses. */
export const NetdProxyArp = z.object({
  /** The interface that answers, and for how many addresses, read back from the kernel. */
  device: z.string().nullable(),
  addresses: count,
  /** Why for none. */
  reason: ErrorData.nullable(),
});
export type NetdProxyArp = z.infer<typeof NetdProxyArp>;

/** One network as the kernel has it. */
export const NetdNetwork = z.object({
  lab: LabName,
  name: NetworkName,
  /** ifindex; null when somebody removed it. */
  bridge: count.nullable(),
  mode: NetworkMode,
  /** null where the network is bridged, as is `address`. */
  subnet: z.string().nullable(),
  address: z.string().nullable(),
  ipv6: z.string().optional(),
  /** The bridge of a bridged network. */
  uplink: z.string().optional(),
  /** The interface that is a port of a bridged network's own bridge. */
  interface: z.string().optional(),
  /** Of a network with proxy ARP. */
  proxy_arp: NetdProxyArp.optional(),
  mac: z.string(),
  mtu: count,
  /** Read back from nftables; false in other modes than `nat`. */
  nat: z.boolean(),
  filter: z.boolean(),
  antispoof: z.boolean(),
  forwarding: z.boolean(),
  doors: z.array(NetdDoor),
  /** `at`: the uplink's addresses at which it is there, read back from nftables. */
  exposed: z.array(z.object({ exposure: NetdExposure, at: z.array(z.string()) })),
  dns: z.object({ pid: count.nullable(), from: z.string(), to: z.string() }).nullable(),
  /** Names of its guests on the host; left out where systemd-resolved does not run or has no route. */
  host_names: NetdHostNames.optional(),
  /** `expires` in seconds since 1970, 0 never. */
  leases: z.array(
    z.object({ mac: z.string(), address: z.string(), hostname: z.string(), expires: z.number() }),
  ),
});
export type NetdNetwork = z.infer<typeof NetdNetwork>;

/** The way out of IPv6. */
export const NetdUplink6 = z.object({
  device: z.string().nullable(),
  host_device: z.string().nullable(),
  gateway: z.string().nullable(),
  forwarding: z.boolean(),
  /** netd made the machine an IPv6 router for that, and drops what is not a lab's: Linux before 6.17. */
  router: z.boolean(),
  reason: ErrorData.nullable(),
});
export type NetdUplink6 = z.infer<typeof NetdUplink6>;

/** The way out. */
export const NetdUplink = z.object({
  provider: z.enum(['kernel', 'pasta', 'none']),
  device: z.string().nullable(),
  host_device: z.string().nullable(),
  addresses: z.array(z.string()),
  gateway: z.string().nullable(),
  forwarding: z.boolean(),
  pid: count.nullable(),
  reason: ErrorData.nullable(),
  ipv6: NetdUplink6.optional(),
  host_subnets: z.array(z.object({ net: z.string(), device: z.string() })).optional(),
});
export type NetdUplink = z.infer<typeof NetdUplink>;

/** Everything at once. */
export const NetdSnapshot = z.object({
  scope: Scope,
  lab: LabName.nullable(),
  links: z.array(NetdLink),
  networks: z.array(NetdNetwork),
  uplink: NetdUplink,
});
export type NetdSnapshot = z.infer<typeof NetdSnapshot>;

/** What netd tells an observer of its own accord. */
export const NetdEvent = z.discriminatedUnion('event', [
  z.object({ event: z.literal('links'), put: z.array(NetdLink), del: z.array(count) }),
  z.object({
    event: z.literal('networks'),
    put: z.array(NetdNetwork),
    del: z.array(z.object({ lab: LabName, name: NetworkName })),
  }),
  z.object({ event: z.literal('uplink'), uplink: NetdUplink }),
  z.object({ event: z.literal('acts'), acts: z.array(NetdAct) }),
]);
export type NetdEvent = z.infer<typeof NetdEvent>;

const Step = z.object({ id: z.string(), ms: z.number(), changed: z.boolean() });
const Removed = z.object({ removed: z.array(z.string()), failed: z.array(ErrorData) });

/** The replies of the verbs that the core uses (`open_tap` and `dial` are `tapyard-tap`'s: their fds cannot come to Node). */
const replies = {
  hello: z.object({
    protocol: z.number(),
    version: z.string(),
    scope: Scope,
    lab: LabName.nullable(),
    uid: count,
    pid: count,
    instance: z.string(),
  }),
  apply_network: z.object({ steps: z.array(Step), network: NetdNetwork }),
  remove_network: Removed,
  set_nat: z.object({
    nat: z.boolean(),
    changed: z.boolean(),
    flows_removed: count,
    drains_ms: count,
    ms: z.number(),
  }),
  expose: z.object({ at: z.array(z.string()), changed: z.boolean(), ms: z.number() }),
  unexpose: z.object({ changed: z.boolean(), ms: z.number() }),
  set_shape: z.object({ shape: NetdShape, changed: z.boolean(), ms: z.number() }),
  observe: NetdSnapshot,
  counters: z.object({
    links: z.array(
      z.object({
        ifindex: count,
        rx_bytes: z.number(),
        tx_bytes: z.number(),
        rx_packets: z.number(),
        tx_packets: z.number(),
        rx_dropped: z.number(),
        tx_dropped: z.number(),
      }),
    ),
    flows: count,
  }),
  acts: z.object({ acts: z.array(NetdAct) }),
  shutdown: Removed,
} as const;

/** A verb that the core asks for. */
export type NetdVerb = keyof typeof replies;
/** Its reply. */
export type NetdReply<Verb extends NetdVerb> = z.infer<(typeof replies)[Verb]>;

const reader =
  <T>(schema: z.ZodType<T>) =>
  (value: unknown): T | undefined =>
    schema.safeParse(value).data;

/** Reads the reply of a verb; undefined where it is not of the verb's shape. */
export const readReply: { readonly [Verb in NetdVerb]: (value: unknown) => NetdReply<Verb> | undefined } = {
  hello: reader(replies.hello),
  apply_network: reader(replies.apply_network),
  remove_network: reader(replies.remove_network),
  set_nat: reader(replies.set_nat),
  expose: reader(replies.expose),
  unexpose: reader(replies.unexpose),
  set_shape: reader(replies.set_shape),
  observe: reader(replies.observe),
  counters: reader(replies.counters),
  acts: reader(replies.acts),
  shutdown: reader(replies.shutdown),
};

/** A network as `apply_network` wants it. */
export interface NetdNetworkSpec {
  readonly name: string;
  /** `nat` where it is left out. */
  readonly mode?: NetworkMode;
  readonly subnet?: string | null;
  readonly address?: string | null;
  readonly ipv6?: string | null;
  /** The bridge of a bridged network. */
  readonly uplink?: string | null;
  /** Or an interface of the host's, as a port of a bridge of its own. */
  readonly interface?: string | null;
  readonly mac: string;
  readonly mtu: number;
  readonly nat: boolean;
  /** netd's default is true. */
  readonly antispoof?: boolean;
  /** Of a routed network; netd's default is false. */
  readonly proxy_arp?: boolean;
  readonly dhcp: {
    readonly from: string;
    readonly to: string;
    readonly reservations: readonly {
      readonly mac: string;
      readonly address: string;
      readonly guest: string;
    }[];
  } | null;
  readonly domain: 'lab';
}

/** The arguments of each verb. */
export interface NetdArgs {
  readonly hello: { readonly protocol: number; readonly client: 'core' | 'tap' | 'test' };
  readonly apply_network: { readonly lab: string; readonly network: NetdNetworkSpec };
  readonly remove_network: { readonly lab: string; readonly network: string };
  readonly set_nat: { readonly lab: string; readonly network: string; readonly nat: boolean };
  readonly expose: { readonly lab: string; readonly exposure: NetdExposure };
  readonly unexpose: {
    readonly lab: string;
    readonly address: string;
    readonly protocol: 'tcp' | 'udp';
    readonly port: number;
  };
  readonly set_shape: {
    readonly lab: string;
    readonly network: string;
    readonly guest: string;
    readonly nic: number;
    readonly shape: NetdShape;
  };
  readonly observe: Readonly<Record<string, never>>;
  readonly counters: Readonly<Record<string, never>>;
  readonly acts: Readonly<Record<string, never>>;
  readonly shutdown: Readonly<Record<string, never>>;
}

/** A line from netd: a reply, or an event. */
export const NetdLine = z.union([
  z.object({ id: count.nullable(), error: ErrorData }),
  z.object({ id: count, ok: z.unknown() }),
  NetdEvent,
]);

/** The line that netd prints when it listens, or instead of listening. */
export const NetdReady = z.union([
  z.object({ ready: z.literal(true), pid: count, socket: z.string() }),
  z.object({ error: ErrorData }),
]);
