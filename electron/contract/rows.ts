// SPDX-License-Identifier: Apache-2.0
import { ErrorData } from './error.ts';
import { FileProblem, ForwardProtocol, NetworkDefinition, NetworkMode } from './lab-file.ts';
import { Scope } from './names.ts';
import { ShapeDefinition } from './shape.ts';
import { z } from './zod.ts';

/*
 * The rows of the tables. Every row has an `id`, unique in its table; ids of things in a lab begin with the
 * lab's name and a slash. `wanted` is what the lab file says, `observed` what the kernel or QEMU says now:
 * the window draws what is observed, and a ghost with `reason` where only `wanted` is there.
 */

/** How IPv6 of the lab leaves: by an interface of its own, or not, with the reason. */
export const Uplink6 = z.strictObject({
  device: z.string().nullable(),
  hostDevice: z.string().nullable(),
  gateway: z.string().nullable(),
  /** All of the computer was made an IPv6 router for it, and the filter drops what is not a lab's: Linux before 6.17. */
  router: z.boolean(),
  reason: ErrorData.nullable(),
});
export type Uplink6 = z.infer<typeof Uplink6>;

/** How the lab's traffic leaves. `none` with a reason when it cannot. */
export const Uplink = z.strictObject({
  provider: z.enum(['kernel', 'pasta', 'none']),
  /** The interface beside the bridge: `eth0` in the host scope, pasta's `up0` in the private one. */
  device: z.string().nullable(),
  /** The host's interface that the traffic leaves by. */
  hostDevice: z.string().nullable(),
  /** CIDRs of `hostDevice`. */
  addresses: z.array(z.string()),
  gateway: z.string().nullable(),
  reason: ErrorData.nullable(),
  /** null where the helper does not tell. */
  ipv6: Uplink6.nullable(),
});
export type Uplink = z.infer<typeof Uplink>;

/** A lab that this user has opened. */
export const LabRow = z.strictObject({
  id: z.string(),
  name: z.string(),
  /** Absolute path of the lab file. */
  file: z.string(),
  /** SHA-256 of the file's bytes as last read, hex. */
  fileHash: z.string(),
  /** What is wrong with the file now; the last good definition stays in force. */
  problems: z.array(FileProblem),
  scope: Scope,
  state: z.enum(['down', 'starting', 'up', 'stopping', 'failed']),
  /** Why it failed, or why the network's observer is gone. */
  error: ErrorData.nullable(),
  /** null while no netd runs for this lab. */
  uplink: Uplink.nullable(),
});
export type LabRow = z.infer<typeof LabRow>;

/** A chain of another firewall on the host, such as Docker's or ufw's, that would drop a network's packets. */
export const DoorRow = z.strictObject({
  /** As nft names it: `ip filter FORWARD`. */
  chain: z.string(),
  firewall: z.enum(['docker', 'firewalld', 'ufw', 'iptables', 'nftables']),
  /** Whether the accept of Tapyard's helper is there; `unseen`: whether one is needed is root's to see. */
  state: z.enum(['open', 'opening', 'shut', 'unseen']),
  /** What to type where the helper could not open it. */
  command: z.string().nullable(),
});
export type DoorRow = z.infer<typeof DoorRow>;

/** Whether this computer's systemd-resolved asks a network's DNS server for the guests' names. */
export const HostNamesRow = z.strictObject({
  state: z.enum(['set', 'asking', 'refused']),
  /** What to type where the helper may not, and why it may not. */
  command: z.string().nullable(),
  reason: z.string().nullable(),
});
export type HostNamesRow = z.infer<typeof HostNamesRow>;

/** How a routed network with proxy ARP is on the LAN. */
export const ProxyArpRow = z.strictObject({
  /** The interface that answers for its guests; null where none does, which is the network's `reason`. */
  device: z.string().nullable(),
  /** For so many addresses. */
  addresses: z.number(),
});
export type ProxyArpRow = z.infer<typeof ProxyArpRow>;

/** One network of a lab, wanted and observed. */
export const NetworkRow = z.strictObject({
  id: z.string(),
  lab: z.string(),
  name: z.string(),
  /** As the lab file has it: what is left out there is left out here. */
  definition: NetworkDefinition.nullable(),
  wanted: z
    .strictObject({
      /** null where the network is bridged, as is `address`. */
      subnet: z.string().nullable(),
      address: z.string().nullable(),
      /** CIDR; null for no IPv6. */
      ipv6: z.string().nullable(),
      mode: NetworkMode,
      /** The bridge of a bridged network. */
      uplink: z.string().nullable(),
      /** The interface of this computer that is a port of a bridged network's own bridge. */
      interface: z.string().nullable(),
      /** The switch of mode `nat`; false in the others. */
      nat: z.boolean(),
      antispoof: z.boolean(),
      mtu: z.number(),
    })
    .nullable(),
  observed: z
    .strictObject({
      ifindex: z.number(),
      /** CIDRs on the bridge. */
      addresses: z.array(z.string()),
      mac: z.string(),
      mtu: z.number(),
      up: z.boolean(),
      mode: NetworkMode,
      /** Read back from nftables; false in other modes than `nat`. */
      nat: z.boolean(),
      antispoof: z.boolean(),
      forwarding: z.boolean(),
      /** null where none is wanted. */
      proxyArp: ProxyArpRow.nullable(),
      /** Empty where no other firewall is in the way. */
      doors: z.array(DoorRow),
      /** null when dnsmasq does not run. */
      dns: z.strictObject({ pid: z.number().nullable(), from: z.string(), to: z.string() }).nullable(),
      /** null where systemd-resolved does not run, or the computer has no route to the guests. */
      hostNames: HostNamesRow.nullable(),
      /** Number of ports of the bridge. */
      ports: z.number(),
    })
    .nullable(),
  reason: ErrorData.nullable(),
});
export type NetworkRow = z.infer<typeof NetworkRow>;

/** The interface that a network's taps are ports of: its own bridge, or the one that it is bridged to. */
export const bridgeName = ({ name, wanted }: Pick<NetworkRow, 'name' | 'wanted'>): string =>
  wanted?.uplink ?? name;

/** One interface of the namespace that the lab's bridges live in, as the kernel reports it. */
export const LinkRow = z.strictObject({
  id: z.string(),
  lab: z.string(),
  ifindex: z.number(),
  name: z.string(),
  /** "bridge", "tun", "veth", … or "" for a physical one. */
  kind: z.string(),
  /** Name of the bridge that it is a port of. */
  master: z.string().nullable(),
  up: z.boolean(),
  carrier: z.boolean(),
  operstate: z.string(),
  mac: z.string(),
  mtu: z.number(),
  addresses: z.array(z.string()),
  /** Whose it is, by label and journal; null for everything that Tapyard did not make. */
  ours: z
    .strictObject({ network: z.string(), guest: z.string().nullable(), nic: z.number().nullable() })
    .nullable(),
});
export type LinkRow = z.infer<typeof LinkRow>;

/** States and words as libvirt users know them. */
export const GuestState = z.enum(['shut off', 'starting', 'running', 'paused', 'shutting down', 'crashed']);
export type GuestState = z.infer<typeof GuestState>;

/** One NIC of a guest and the cable that it hangs on. */
export const NicState = z.strictObject({
  index: z.number(),
  network: z.string(),
  mac: z.string(),
  /** The tap's name while the guest holds it, else null. */
  tap: z.string().nullable(),
  /** The tap's name that the plan prefers. */
  wantedTap: z.string(),
  /** The file descriptor number that QEMU was started with. */
  fd: z.number().nullable(),
  address: z.string().nullable(),
  /** `reserved`: by the lab file and DHCP; `lease`: picked by DHCP. */
  addressSource: z.enum(['reserved', 'lease']).nullable(),
  /** A DHCP lease for this MAC exists now. */
  leased: z.boolean(),
  /** Its cable is whole: false after `guest.setLink` has cut it, which the guest sees as a carrier that is gone. */
  plugged: z.boolean(),
  /** What its traffic is held to in each direction: observed where it has a tap, else as wanted. Empty for nothing. */
  shape: ShapeDefinition,
  /** The same as the lab file has it. */
  wantedShape: ShapeDefinition,
});
export type NicState = z.infer<typeof NicState>;

/** One guest, wanted and observed. */
export const GuestRow = z.strictObject({
  id: z.string(),
  lab: z.string(),
  name: z.string(),
  state: GuestState,
  /** Why it is in that state, in a few words: "panicked", "killed by signal 9", "by user". */
  stateReason: z.string().nullable(),
  /** When the state began, ms since 1970. */
  since: z.number(),
  pid: z.number().nullable(),
  accelerator: z.enum(['kvm', 'tcg']).nullable(),
  /** `micro`, or the path as in the lab file. */
  image: z.string(),
  /** For people: "Micro guest", "debian-12.qcow2". */
  imageLabel: z.string(),
  /** Bytes. */
  memory: z.number(),
  cpus: z.number(),
  nics: z.array(NicState),
  /** NICs that QEMU has and the lab file has not, until the next `up`. */
  leftNics: z.array(z.strictObject({ network: z.string(), mac: z.string(), tap: z.string() })),
  /**
   * Absolute paths, there while QEMU is: of the screen's and the monitor's sockets, and of the serial port's FIFO.
   * What is written to that is typed into the guest, whoever else does so.
   */
  sockets: z.strictObject({ serial: z.string(), vnc: z.string(), qmp: z.string() }),
  /** The absolute path of the file that has all that the guest said on its serial port. */
  serialRecord: z.string(),
  /** Still in the lab file. A running guest that was deleted there stays visible until it ends. */
  wanted: z.boolean(),
  /** The last thing that went wrong with it, until the next attempt. */
  error: ErrorData.nullable(),
});
export type GuestRow = z.infer<typeof GuestRow>;

/** One forward of the lab file: a port of this computer that leads to a guest's. */
export const ForwardRow = z.strictObject({
  id: z.string(),
  lab: z.string(),
  guest: z.string(),
  /** Where it listens: an IPv4 address and a port of this computer. */
  address: z.string(),
  port: z.number(),
  protocol: ForwardProtocol,
  /** The guest's port. */
  to: z.number(),
  /**
   * `waiting`: nobody listens, since the lab is down or the guest has no address yet; `blocked`: a rule that lets
   * nothing in while NAT of the guest's network is off; `failed`: `error` says why.
   */
  state: z.enum(['waiting', 'listening', 'blocked', 'failed']),
  /** A process that listens and passes on, or a rule of the kernel's, by which the guest sees who asks. */
  way: z.enum(['process', 'rule']),
  /** The addresses by which it is reached from this computer, none while it is not there. */
  at: z.array(z.string()),
  /** The guest's address that it leads to. */
  target: z.string().nullable(),
  /** Connections that a process carries now; null of a rule. */
  flows: z.number().nullable(),
  pid: z.number().nullable(),
  error: ErrorData.nullable(),
});
export type ForwardRow = z.infer<typeof ForwardRow>;

/** One step of the recipe: what Tapyard does, the command that would do the same, and whether it holds. */
export const StepRow = z.strictObject({
  id: z.string(),
  lab: z.string(),
  /** Position in the recipe, from 0. */
  order: z.number(),
  /** What is done, in plain words: "bridge br0". */
  title: z.string(),
  /** The shell command that would do the same, one line or several. */
  command: z.string(),
  /** The network or guest that it is for, ids of their tables. */
  network: z.string().nullable(),
  guest: z.string().nullable(),
  state: z.enum(['pending', 'doing', 'done', 'failed']),
  /** How long it took, ms; null where it was not done by this core. */
  ms: z.number().nullable(),
  /** Whether the kernel (or QEMU) holds it now; null where nothing can be asked ("by DHCP, in the guest"). */
  holds: z.boolean().nullable(),
  /** For a step that somebody else does, who: "by DHCP". */
  by: z.string().nullable(),
  error: ErrorData.nullable(),
});
export type StepRow = z.infer<typeof StepRow>;

/** Long work. It survives a reload of the window and the leaving of one of two viewers. */
export const JobRow = z.strictObject({
  id: z.string(),
  lab: z.string().nullable(),
  /** The check that it mends; null for what is no mend. */
  check: z.string().nullable(),
  /** The job leaf's name, such as `lab.up`. */
  name: z.string(),
  state: z.enum(['running', 'done', 'failed', 'cancelled']),
  /** What it does now, for people. */
  doing: z.string(),
  /** What somebody else (polkit) asks the user now for it, and why; null when nobody asks. */
  asks: z.string().nullable(),
  /** Steps done and in all; `total` 0 when not known. */
  done: z.number(),
  total: z.number(),
  startedAt: z.number(),
  endedAt: z.number().nullable(),
  error: ErrorData.nullable(),
});
export type JobRow = z.infer<typeof JobRow>;

/** What this computer is; one row with the id `host`. */
export const HostRow = z.strictObject({
  id: z.string(),
  hostname: z.string(),
  user: z.string(),
  qemuVersion: z.string().nullable(),
  /** What "auto" chose and why, for people: "KVM is present but does not run guests here; using TCG". */
  accelerator: z.strictObject({ use: z.enum(['kvm', 'tcg']), why: z.string() }).nullable(),
  tapyardVersion: z.string(),
});
export type HostRow = z.infer<typeof HostRow>;

/** The checks that Tapyard can mend. What it then runs is no one's to say but the core's. */
export const MendableCheck = z.enum(['host-scope']);
export type MendableCheck = z.infer<typeof MendableCheck>;

/** The result of one check of this host. */
export const CheckResult = z.strictObject({
  id: z.string(),
  title: z.string(),
  state: z.enum(['ok', 'warning', 'failed']),
  /** What was found. */
  found: z.string(),
  /**
   * What to do, one entry a way; commands are copyable. With `mend` the core runs `command` itself when it is told
   * to (`check.mend` of that check): as root, with polkit asking for the password in place of sudo.
   */
  fixes: z.array(
    z.strictObject({ text: z.string(), command: z.string().optional(), mend: MendableCheck.optional() }),
  ),
});
export type CheckResult = z.infer<typeof CheckResult>;
