// SPDX-License-Identifier: Apache-2.0
import type { ErrorData } from '../../../electron/contract/error.ts';
import type { NetworkMode } from '../../../electron/contract/lab-file.ts';
import type { GuestRow, LabRow } from '../../../electron/contract/rows.ts';
import type { Selection } from '../../store/subject.ts';

/** Why something that is wanted is not there. Something observed has none. */
export interface Ghost {
  readonly reason: string;
  /** What to do about it. */
  readonly fix: string | null;
  /** Nothing is wrong: it is only not there yet, or no longer. */
  readonly expected: boolean;
}

/** How the lab's traffic leaves this computer. */
export interface UplinkNode {
  readonly kind: 'uplink';
  readonly key: string;
  readonly selection: Selection;
  readonly device: string | null;
  readonly addresses: readonly string[];
  /** "through pasta", or null where the kernel forwards by itself. */
  readonly through: string | null;
  /** Id of the lab, for the `flows` gauge, where no NAT node shows it. */
  readonly flows: string | null;
  readonly ghost: Ghost | null;
}

/** The way out of one network. With NAT it is its switch. */
export interface NatNode {
  readonly kind: 'nat';
  readonly key: string;
  readonly selection: Selection;
  /** Id of the network. */
  readonly network: string;
  readonly name: string;
  readonly mode: NetworkMode;
  /** Whether anything passes, read back from the kernel; null while there is no bridge. */
  readonly on: boolean | null;
  /** What it does to whom: "br0 is isolated". */
  readonly sentence: string;
  /** Id of the lab, for the `flows` gauge: only where this is the one NAT that is on, since flows are counted by lab. */
  readonly flows: string | null;
  readonly device: string | null;
  readonly ghost: Ghost | null;
}

/** A port of a bridge, or the place of one that is wanted. */
export interface Port {
  readonly key: string;
  /** What a click selects: the link, or the guest whose port is not there yet. */
  readonly selection: Selection;
  readonly name: string;
  /** `down`: there, without link. */
  readonly state: 'up' | 'down' | 'ghost';
  /** False for a port that Tapyard did not make, such as a veth of a container. */
  readonly ours: boolean;
  /** What it is, and what is missing, to be read after its name. */
  readonly note: string;
}

/** A network's bridge with its ports. */
export interface BridgeNode {
  readonly kind: 'network';
  readonly key: string;
  readonly selection: Selection;
  readonly name: string;
  readonly addresses: readonly string[];
  /** "DHCP, DNS" or what is missing. */
  readonly services: string;
  readonly portCount: string;
  readonly ports: readonly Port[];
  readonly ghost: Ghost | null;
}

/** One NIC as a guest's card shows it. */
export interface NicLine {
  readonly index: number;
  readonly label: string;
  /** Link id for the `rates` gauge; null where there is no tap. */
  readonly link: string | null;
  /** In place of rates: "no link". */
  readonly words: string | null;
}

/** The shape that stands for a state, besides its word and colour. */
export type StateShape = 'running' | 'cut' | 'paused' | 'off' | 'starting' | 'stopping' | 'crashed';

/** A guest. */
export interface GuestNode {
  readonly kind: 'guest';
  readonly key: string;
  readonly selection: Selection;
  /** Id of its row. */
  readonly id: string;
  readonly name: string;
  readonly state: GuestRow['state'];
  readonly shape: StateShape;
  /** "running · Debian 12" */
  readonly line: string;
  readonly address: string | null;
  /** A lease for the address exists, or it is out of DHCP's hands. */
  readonly addressSure: boolean;
  readonly nics: readonly NicLine[];
  /** The last thing that went wrong with it. */
  readonly error: ErrorData | null;
  /** Key of the network that it is placed beside: that of its first NIC. */
  readonly home: string | null;
  /** Starting it makes sense now: its lab is up and its file still wants it. */
  readonly startable: boolean;
}

export type MapNode = UplinkNode | NatNode | BridgeNode | GuestNode;

/** Where a cable ends: a node's near side, one of a bridge's ports, or a guest's NIC. */
export interface CableEnd {
  readonly node: string;
  readonly port: string | null;
  readonly nic: number | null;
}

/** A cable. `cut`: both ends are there and nothing passes; `ghost`: it is only wanted. */
export interface Cable {
  readonly key: string;
  readonly layer: 'l2' | 'l3';
  readonly state: 'up' | 'cut' | 'ghost';
  readonly from: CableEnd;
  readonly to: CableEnd;
  /** What a click selects. */
  readonly selection: Selection;
  /** Link id for the `rates` gauge; null where none is measured. */
  readonly rate: string | null;
  /** What each direction is held to, in words: "10mbit, 20ms". */
  readonly heldTo: string | null;
  readonly note: string;
}

/** What the map draws of one lab. Every part comes from observed rows, or is a ghost that says why. */
export interface Topology {
  readonly lab: string;
  readonly state: LabRow['state'];
  readonly error: ErrorData | null;
  /** The words on the dashed boundary: "network of this lab" or "this computer · thinkpad". */
  readonly boundary: string;
  readonly uplink: UplinkNode;
  readonly nats: readonly NatNode[];
  readonly bridges: readonly BridgeNode[];
  readonly guests: readonly GuestNode[];
  readonly cables: readonly Cable[];
}
