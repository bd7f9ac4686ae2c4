// SPDX-License-Identifier: Apache-2.0
import { ActRow } from './act.ts';
import {
  ForwardDefinition,
  ForwardProtocol,
  GuestDefinition,
  NetworkDefinition,
  NicDefinition,
  Port,
} from './lab-file.ts';
import { bytes, call, gauge, job, table } from './leaf.ts';
import { GuestName, Ipv4, LabName, NetworkName, Scope } from './names.ts';
import {
  CheckResult,
  ForwardRow,
  GuestRow,
  HostRow,
  JobRow,
  LabRow,
  LinkRow,
  MendableCheck,
  NetworkRow,
  StepRow,
} from './rows.ts';
import { ShapeDefinition } from './shape.ts';
import { z } from './zod.ts';

const lab = LabName;
const guestOf = z.strictObject({ lab, guest: GuestName });
const networkOf = z.strictObject({ lab, network: NetworkName });
/** The lab's `fileHash` that the caller has seen: an edit made meanwhile elsewhere is not lost. */
const fileHash = z.string();
const done = z.strictObject({});

/**
 * Everything that can be asked of a core, in one tree: groups of leaves. Its client, its server, the fakes of
 * the tests and the hash in `hello` are derived from it. A leaf's name on the wire is `group.leaf`.
 */
export const contract = {
  lab: {
    /** Reads a lab file and lists the lab; nothing is started. A file with problems is refused by LAB_FILE_INVALID. */
    open: call({
      in: z.strictObject({ file: z.string().min(1).max(4096) }),
      out: z.strictObject({ lab }),
      errors: ['LAB_FILE_MISSING', 'LAB_FILE_UNREADABLE', 'LAB_FILE_INVALID', 'LAB_NAME_TAKEN'],
      idempotent: true,
      for: 'user',
    }),
    /** Takes a lab that is down off the list; its file and disks stay. */
    forget: call({
      in: z.strictObject({ lab }),
      out: done,
      errors: ['NO_SUCH_LAB', 'LAB_BUSY'],
      idempotent: true,
      for: 'user',
    }),
    /** Makes the kernel hold what the file says and starts the guests. `scope` is kept for the next time. */
    up: job({
      in: z.strictObject({
        lab,
        scope: Scope.optional(),
        /** Wait until each guest with a network has its lease, ms; 0 does not wait. */
        waitReachable: z.number().int().min(0).max(600_000).default(0),
      }),
      errors: ['NO_SUCH_LAB', 'LAB_FILE_INVALID', 'LAB_BUSY', 'LAB_UP_IN_OTHER_SCOPE'],
      for: 'anyone',
    }),
    /**
     * Takes the lab to the other scope: what that needs is asked for first, and when it is refused nothing has
     * changed; then it is brought down and up again there. A lab that is down is there with its next `up`.
     */
    move: job({
      in: z.strictObject({
        lab,
        scope: Scope,
        /** As that of `up`. */
        waitReachable: z.number().int().min(0).max(600_000).default(0),
      }),
      errors: ['NO_SUCH_LAB', 'LAB_FILE_INVALID', 'LAB_BUSY', 'MODE_NEEDS_HOST_SCOPE'],
      for: 'anyone',
    }),
    /** Ends the guests and undoes the network. `force` powers off at once instead of asking the guests first. */
    down: job({
      in: z.strictObject({ lab, force: z.boolean().default(false) }),
      errors: ['NO_SUCH_LAB', 'LAB_BUSY'],
      for: 'anyone',
    }),
  },
  guest: {
    start: call({
      in: guestOf,
      out: done,
      errors: [
        'NO_SUCH_LAB',
        'NO_SUCH_GUEST',
        'LAB_NOT_UP',
        'GUEST_STATE',
        'IMAGE_MISSING',
        'QEMU_MISSING',
        'QEMU_FAILED',
        'NIC_IN_USE',
        'MAC_TAKEN',
      ],
      idempotent: true,
      for: 'anyone',
    }),
    /** Presses the power button (ACPI). The guest decides; its state says when it is off. */
    shutdown: call({
      in: guestOf,
      out: done,
      errors: ['NO_SUCH_LAB', 'NO_SUCH_GUEST', 'GUEST_STATE', 'QMP_FAILED'],
      idempotent: true,
      for: 'anyone',
    }),
    /** Pulls the plug. */
    forceOff: call({
      in: guestOf,
      out: done,
      errors: ['NO_SUCH_LAB', 'NO_SUCH_GUEST', 'GUEST_STATE', 'QMP_FAILED'],
      idempotent: true,
      for: 'anyone',
    }),
    pause: call({
      in: guestOf,
      out: done,
      errors: ['NO_SUCH_LAB', 'NO_SUCH_GUEST', 'GUEST_STATE', 'QMP_FAILED'],
      idempotent: true,
      for: 'anyone',
    }),
    resume: call({
      in: guestOf,
      out: done,
      errors: ['NO_SUCH_LAB', 'NO_SUCH_GUEST', 'GUEST_STATE', 'QMP_FAILED'],
      idempotent: true,
      for: 'anyone',
    }),
    /** Force reset, as the reset button. */
    reset: call({
      in: guestOf,
      out: done,
      errors: ['NO_SUCH_LAB', 'NO_SUCH_GUEST', 'GUEST_STATE', 'QMP_FAILED'],
      idempotent: false,
      for: 'anyone',
    }),
    /** Cuts or mends the cable at a guest's NIC: the guest sees its carrier go and come. Whole again with each start. */
    setLink: call({
      in: guestOf.extend({ nic: z.number().int(), up: z.boolean() }),
      out: z.strictObject({ changed: z.boolean() }),
      errors: ['NO_SUCH_LAB', 'NO_SUCH_GUEST', 'NO_SUCH_NIC', 'GUEST_STATE', 'QMP_FAILED'],
      idempotent: true,
      for: 'anyone',
    }),
    /** Holds a NIC to a shape: in the kernel where the guest runs, then in the lab file. An empty one takes it off. */
    setShape: call({
      in: guestOf.extend({ nic: z.number().int(), shape: ShapeDefinition }),
      /** `live`: the guest has the NIC now. */
      out: z.strictObject({ changed: z.boolean(), live: z.boolean() }),
      errors: [
        'NO_SUCH_LAB',
        'NO_SUCH_GUEST',
        'NO_SUCH_NIC',
        'LAB_BUSY',
        'LAB_FILE_INVALID',
        'LAB_FILE_UNWRITABLE',
        'NETEM_MISSING',
        'SHAPER_MISSING',
        'KERNEL',
      ],
      idempotent: true,
      for: 'anyone',
    }),
    /** Writes a new guest into the lab file, and starts it where the lab is up and `start` is set. */
    create: call({
      in: z.strictObject({
        lab,
        guest: GuestName,
        definition: GuestDefinition,
        start: z.boolean(),
        fileHash,
      }),
      out: done,
      errors: [
        'NO_SUCH_LAB',
        'GUEST_NAME_TAKEN',
        'LAB_FILE_INVALID',
        'LAB_FILE_CHANGED',
        'LAB_FILE_UNWRITABLE',
        'IMAGE_MISSING',
      ],
      idempotent: false,
      for: 'anyone',
    }),
    /** Takes a guest that is shut off out of the lab file; its overlay disk is deleted, its image never. */
    remove: call({
      in: guestOf.extend({ fileHash }),
      out: done,
      errors: ['NO_SUCH_LAB', 'NO_SUCH_GUEST', 'GUEST_STATE', 'LAB_FILE_CHANGED', 'LAB_FILE_UNWRITABLE'],
      idempotent: false,
      for: 'anyone',
    }),
    /**
     * Plugs one more NIC into a guest that runs, and writes it into the lab file; where the guest is shut off only
     * that. Without `fileHash` the edit is made on whatever the file holds.
     */
    addNic: call({
      in: guestOf.extend({ nic: NicDefinition, fileHash: fileHash.optional() }),
      /** `nic` is its place in the guest, from 0. */
      out: z.strictObject({ nic: z.number() }),
      errors: [
        'NO_SUCH_LAB',
        'NO_SUCH_GUEST',
        'NO_SUCH_NETWORK',
        'LAB_BUSY',
        'LAB_NOT_UP',
        'GUEST_STATE',
        'NO_FREE_PORT',
        'BRIDGE_FULL',
        'MAC_TAKEN',
        'QMP_FAILED',
        'LAB_FILE_INVALID',
        'LAB_FILE_CHANGED',
        'LAB_FILE_UNWRITABLE',
      ],
      idempotent: false,
      for: 'anyone',
    }),
    /**
     * Takes a NIC from a guest that runs, which has to let go of it, and out of the lab file; where the guest is shut
     * off only that. The others keep their MAC addresses.
     */
    removeNic: call({
      in: guestOf.extend({ nic: z.number().int().min(0).max(7), fileHash: fileHash.optional() }),
      out: done,
      errors: [
        'NO_SUCH_LAB',
        'NO_SUCH_GUEST',
        'NO_SUCH_NIC',
        'LAB_BUSY',
        'GUEST_STATE',
        'NIC_NOT_RELEASED',
        'QMP_FAILED',
        'LAB_FILE_INVALID',
        'LAB_FILE_CHANGED',
        'LAB_FILE_UNWRITABLE',
      ],
      idempotent: false,
      for: 'anyone',
    }),
  },
  network: {
    /** What subnets are in use, and one that is free: for who writes a network. */
    subnets: call({
      in: z.strictObject({ lab }),
      out: z.strictObject({
        free: z.string(),
        /** In use by this computer's addresses and routes and by other labs' networks, and whose they are. */
        used: z.array(z.strictObject({ subnet: z.string(), by: z.string() })),
      }),
      errors: ['NO_SUCH_LAB'],
      idempotent: true,
      for: 'anyone',
    }),
    /** Writes a new network into the lab file. Where the lab is up it is made first: one that cannot be made is not written. */
    create: call({
      in: networkOf.extend({ definition: NetworkDefinition, fileHash }),
      out: done,
      errors: [
        'NO_SUCH_LAB',
        'LAB_BUSY',
        'NETWORK_NAME_TAKEN',
        'LAB_FILE_INVALID',
        'LAB_FILE_CHANGED',
        'LAB_FILE_UNWRITABLE',
        'NAME_TAKEN',
        'SUBNET_OVERLAP',
        'SUBNET_NOT_ON_LAN',
        'ADDRESS_TAKEN',
        'BRIDGE_NOT_ALLOWED',
        'MODE_NEEDS_HOST_SCOPE',
        'DNSMASQ_MISSING',
        'DNSMASQ_FAILED',
        'KERNEL',
      ],
      idempotent: false,
      for: 'anyone',
    }),
    /**
     * Makes a network what `definition` says, in the kernel where the lab is up, then in the lab file. With
     * another subnet of the same size, addresses that are reserved in it move along.
     */
    change: call({
      in: networkOf.extend({ definition: NetworkDefinition, fileHash }),
      out: done,
      errors: [
        'NO_SUCH_LAB',
        'LAB_BUSY',
        'NO_SUCH_NETWORK',
        'LAB_FILE_INVALID',
        'LAB_FILE_CHANGED',
        'LAB_FILE_UNWRITABLE',
        'SUBNET_OVERLAP',
        'SUBNET_NOT_ON_LAN',
        'ADDRESS_TAKEN',
        'BRIDGE_NOT_ALLOWED',
        'MODE_NEEDS_HOST_SCOPE',
        'DNSMASQ_MISSING',
        'DNSMASQ_FAILED',
        'KERNEL',
      ],
      idempotent: true,
      for: 'anyone',
    }),
    /** Takes a network that no guest has a NIC on out of the lab file, and where the lab is up out of the kernel. */
    remove: call({
      in: networkOf.extend({ fileHash }),
      out: done,
      errors: [
        'NO_SUCH_LAB',
        'LAB_BUSY',
        'NO_SUCH_NETWORK',
        'NETWORK_IN_USE',
        'LAB_FILE_INVALID',
        'LAB_FILE_CHANGED',
        'LAB_FILE_UNWRITABLE',
      ],
      idempotent: false,
      for: 'anyone',
    }),
    /**
     * Flips NAT in the kernel, then in the lab file. Off is answered once nothing reaches a guest any more, a
     * quarter of a second after guests’ packets stop. `ms` is the time from the request to the kernel's answer.
     */
    setNat: call({
      in: z.strictObject({ lab, network: NetworkName, nat: z.boolean() }),
      out: z.strictObject({
        nat: z.boolean(),
        changed: z.boolean(),
        flowsRemoved: z.number(),
        ms: z.number(),
      }),
      errors: ['NO_SUCH_LAB', 'NO_SUCH_NETWORK', 'NO_NAT_SWITCH', 'LAB_NOT_UP'],
      idempotent: true,
      for: 'anyone',
    }),
  },
  forward: {
    /** Writes a forward into the lab file; it listens at once where the lab is up. One that is there with this port leads elsewhere then. */
    add: call({
      in: guestOf.extend({ forward: ForwardDefinition }),
      out: done,
      errors: ['NO_SUCH_LAB', 'NO_SUCH_GUEST', 'UDP_NEEDS_RULE', 'LAB_FILE_INVALID', 'LAB_FILE_UNWRITABLE'],
      idempotent: true,
      for: 'anyone',
    }),
    /** Takes a forward out of the lab file; connections that it carries end. */
    remove: call({
      in: guestOf.extend({ address: Ipv4, port: Port, protocol: ForwardProtocol.default('tcp') }),
      out: done,
      errors: ['NO_SUCH_LAB', 'NO_SUCH_GUEST', 'NO_SUCH_FORWARD', 'LAB_FILE_UNWRITABLE'],
      idempotent: false,
      for: 'anyone',
    }),
  },
  recipe: {
    /** The whole recipe as a shell script that a person can read and run. */
    script: call({
      in: z.strictObject({ lab }),
      out: z.strictObject({ script: z.string() }),
      errors: ['NO_SUCH_LAB'],
      idempotent: true,
      for: 'anyone',
    }),
  },
  check: {
    /** What this host can do, and the fix for what it cannot. */
    run: call({
      in: z.strictObject({}),
      out: z.strictObject({ results: z.array(CheckResult) }),
      errors: [],
      idempotent: true,
      for: 'anyone',
    }),
    /**
     * Mends what a check found, by the commands of its fix that has `mend`, and looks again. polkit asks for the
     * password, after the job has told what for. While one is being mended the answer is that job.
     */
    mend: job({
      in: z.strictObject({ check: MendableCheck }),
      errors: [],
      for: 'anyone',
    }),
  },
  image: {
    /** Images that a new guest can use without typing a path. */
    list: call({
      in: z.strictObject({}),
      out: z.strictObject({
        images: z.array(z.strictObject({ image: z.string(), label: z.string(), ready: z.boolean() })),
      }),
      errors: [],
      idempotent: true,
      for: 'anyone',
    }),
  },
  job: {
    /** Stops a running job and undoes what it has done so far. */
    cancel: call({
      in: z.strictObject({ job: z.string() }),
      out: done,
      errors: [],
      idempotent: true,
      for: 'anyone',
    }),
  },
  command: {
    /**
     * Does what the words after `tapyard` say, here: what the native front asks so that nobody waits for Node
     * to start. Only of a command that is brief, and only for a front of the same build: whatever else it is
     * asked it refuses, with nothing done, and the front leaves the command to Node.
     */
    run: call({
      in: z.strictObject({
        /** What the front was built with: a command of another build may know other words. */
        build: z.string().max(64),
        words: z.array(z.string().max(4096)).max(64),
        /** The caller's working directory: which lab is meant can depend on its ./tapyard.yaml. */
        cwd: z.string().startsWith('/').max(4096),
      }),
      out: z.strictObject({ status: z.number().int().min(0).max(255), out: z.string(), err: z.string() }),
      errors: ['CONTRACT_MISMATCH', 'USAGE'],
      idempotent: false,
      for: 'user',
    }),
  },
  core: {
    /** Ends the core when nothing needs it; guests and netd run on. */
    quit: call({ in: z.strictObject({}), out: done, errors: [], idempotent: true, for: 'user' }),
  },
  tables: {
    host: table(HostRow),
    labs: table(LabRow),
    networks: table(NetworkRow),
    links: table(LinkRow),
    guests: table(GuestRow),
    forwards: table(ForwardRow),
    steps: table(StepRow),
    /** What the network helper did, the last 300 acts of each lab. */
    acts: table(ActRow),
    jobs: table(JobRow),
  },
  gauges: {
    /** By link id: bits per second towards the guest (`down`) and from it (`up`); for a bridge and the uplink from and to the lab. */
    rates: gauge(z.strictObject({ down: z.number(), up: z.number() })),
    /** By lab: flows that conntrack holds for its subnets. */
    flows: gauge(z.number()),
    /** By guest id: the last line on its serial console, as text without control characters. */
    tails: gauge(z.string()),
    /** By guest id: CPU time of QEMU in percent of one core. */
    cpu: gauge(z.number()),
  },
  consoles: {
    /**
     * The serial console. Offsets are those of its record; `from` is where to begin, -1 for the last
     * `tail` bytes. Bytes that the capped record no longer has are told by a skip.
     */
    serial: bytes({
      in: guestOf.extend({
        from: z.number().int().min(-1),
        tail: z.number().int().min(0).max(1_048_576).default(65_536),
      }),
      offsets: true,
      errors: ['NO_SUCH_LAB', 'NO_SUCH_GUEST', 'CONSOLE_CLOSED'],
    }),
    /** The screen: RFB (RFC 6143) as QEMU speaks it, a connection of its own for each viewer. */
    screen: bytes({
      in: guestOf,
      offsets: false,
      errors: ['NO_SUCH_LAB', 'NO_SUCH_GUEST', 'CONSOLE_CLOSED'],
    }),
  },
} as const;

export type Contract = typeof contract;
