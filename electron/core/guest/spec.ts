// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import type { ErrorData } from '../../contract/error.ts';
import type { GuestState } from '../../contract/rows.ts';
import type { ShapeDefinition } from '../../contract/shape.ts';
import { dataDir, guestDir, socketPath, stateDir } from '../host/runtime-dir.ts';
import type { ResolvedImage } from '../image/image.ts';

/** One NIC as QEMU and netd get it. */
export interface NicSpec {
  /** Its place in the guest, from 0. */
  readonly index: number;
  readonly network: string;
  /** Lower case, prefix 52:54:00. */
  readonly mac: string;
  /** The tap's name that is asked of netd; netd may pick another. */
  readonly tap: string;
  /** What its traffic is held to from its first packet on. */
  readonly shape?: ShapeDefinition;
}

/** What a guest is to be. A change takes effect with its next start. */
export interface GuestSpec {
  readonly lab: string;
  readonly name: string;
  readonly image: ResolvedImage;
  /** Bytes. */
  readonly memory: number;
  readonly cpus: number;
  readonly nics: readonly NicSpec[];
  /** netd's socket; it is asked only where there are NICs. */
  readonly netdSocket: string;
}

/** The directories of one guest, absolute. */
export interface GuestDirs {
  /** Sockets and the state file; gone with the next boot. */
  readonly runtime: string;
  /** The serial record and QEMU's log. */
  readonly state: string;
  /** The disk. */
  readonly data: string;
  /** What the guests of a lab share: the ssh key. */
  readonly labData: string;
}

/** The directories of a guest by the environment (none is made). */
export function guestDirs(lab: string, name: string): GuestDirs {
  const labData = join(dataDir(), 'labs', lab);
  return {
    runtime: guestDir(lab, name),
    state: join(stateDir(), 'labs', lab, name),
    data: join(labData, name),
    labData,
  };
}

/** Where one guest is spoken to, absolute: the sockets of its screen and monitor, and its serial port's FIFO. */
export interface GuestSockets {
  /** What is written to it is typed into the guest; what the guest says is in the record. */
  readonly serial: string;
  readonly vnc: string;
  readonly qmp: string;
  /** A second monitor, by which taps are handed over (hot-plug.ts). */
  readonly plug: string;
}

/** Those in a guest's runtime directory. Throws RUNTIME_PATH_TOO_LONG. */
export function guestSockets(runtime: string): GuestSockets {
  return {
    serial: join(runtime, 'serial.in'),
    vnc: socketPath(runtime, 'vnc.sock'),
    qmp: socketPath(runtime, 'qmp.sock'),
    plug: socketPath(runtime, 'nic.sock'),
  };
}

/** A NIC with the numbers that its file descriptors have in QEMU. */
export interface PluggedNic extends NicSpec {
  readonly fd: number;
  /** Of /dev/vhost-net; undefined where packets go through QEMU itself. */
  readonly vhostFd: number | undefined;
}

/** The programs that a guest's processor can run on. */
export type Accelerator = 'kvm' | 'tcg';

/** One step of opening a tap, as netd reports it (docs/netd-protocol.md, open_tap). */
export interface TapStep {
  readonly id: string;
  readonly ms: number;
  readonly changed: boolean;
}

/** A tap that QEMU holds. */
export interface HeldTap {
  /** Its number in QEMU and in netd's label. It is the NIC's index at QEMU's start; later the file may count anew. */
  readonly nic: number;
  /** Empty where it is not known: of a QEMU that an older core started. */
  readonly network: string;
  readonly mac: string;
  readonly tap: string;
  readonly ifindex: number;
  /** The file descriptor's number in QEMU; null where QEMU got it later and chose itself. */
  readonly fd: number | null;
  /** Empty for an adopted guest. */
  readonly steps: readonly TapStep[];
}

/** The tap that a NIC hangs on: their indices part where NICs are plugged and unplugged. */
export function tapOf(
  { network, mac }: Pick<NicSpec, 'network' | 'mac'>,
  taps: readonly HeldTap[],
): HeldTap | undefined {
  return taps.find(
    (tap) => tap.mac === mac && (tap.network === network || tap.network === '' || network === ''),
  );
}

/** What is known of a guest now. A new object for every change. */
export interface GuestStatus {
  readonly state: GuestState;
  /** Why, in a few words, for people: "killed by signal 9", "by user". */
  readonly reason: string | null;
  /** When the state began, ms since 1970. */
  readonly since: number;
  /** QEMU's, while it is there. */
  readonly pid: number | null;
  readonly accelerator: Accelerator | null;
  /** What QEMU holds; empty when it is gone. */
  readonly taps: readonly HeldTap[];
  /** Numbers of the taps whose cable is cut, as QEMU has taken it: it has no question that would tell. */
  readonly cut: readonly number[];
  readonly sockets: GuestSockets;
  /** The path of the record of its serial port. */
  readonly serialRecord: string;
  /** What went wrong last, until the next attempt. */
  readonly error: ErrorData | null;
  /** The command line that QEMU was last started with by this core, for the recipe; null before that. */
  readonly argv: readonly string[] | null;
  /** ms that the last start took by this core, up to QEMU's first answer. */
  readonly startMs: number | null;
}
