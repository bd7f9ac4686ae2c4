// SPDX-License-Identifier: Apache-2.0
import type { Subscription } from '../../contract/client.ts';
import type { TapyardError } from '../../contract/error.ts';
import type { ShapeNumbers } from '../../contract/shape.ts';
import type { Scope } from '../../contract/names.ts';
import type { Guest } from '../guest/guest.ts';
import type { GuestSpec } from '../guest/spec.ts';
import type { NetdExposure, NetdReply } from '../net/netd-protocol.ts';
import type { Picture } from '../net/picture.ts';
import type { ResolvedNetwork } from './resolve.ts';

/** A guest as the lab uses it. */
export type GuestHandle = Pick<
  Guest,
  | 'id'
  | 'spec'
  | 'status'
  | 'plan'
  | 'serial'
  | 'onChange'
  | 'adopt'
  | 'start'
  | 'shutdown'
  | 'forceOff'
  | 'pause'
  | 'resume'
  | 'reset'
  | 'setLink'
  | 'plug'
  | 'unplug'
  | 'stop'
  | 'openScreen'
  | 'cpu'
  | 'release'
>;

/**
 * What can make a lab real: networks, guests, and the observation of both. The local engine is netd and QEMU
 * on this computer; a lab that outgrows it would go to another behind the same interface.
 */
export interface Engine {
  readonly scope: Scope;
  /** What is observed of the network; null while nothing observes it. */
  readonly picture: Picture | null;
  /** Why the observer went away by itself; null while it is there or was sent away. */
  readonly failure: TapyardError | null;
  /** Calls `listener` after each change of `picture` and `failure`. */
  onChange(listener: () => void): Subscription;
  /** Takes over what an earlier core left running, and starts nothing that did not run. */
  adopt(): Promise<void>;
  /** What can be known to be missing before anything is made. Throws QEMU_MISSING, IMAGE_*. */
  preflight(guests: readonly GuestHandle[]): Promise<void>;
  /**
   * Makes ready for networks. `started` says that nothing was there before. `tell` hears what the user is about to
   * be asked outside of Tapyard, and why, before it is asked.
   */
  open(tell?: (asks: string) => void): Promise<{ readonly started: boolean }>;
  /** Makes or mends a network; the steps in the order done. */
  applyNetwork(network: ResolvedNetwork): Promise<NetdReply<'apply_network'>['steps']>;
  removeNetwork(name: string): Promise<void>;
  setNat(name: string, nat: boolean): Promise<NetdReply<'set_nat'>>;
  /** Leads a port of the host's on the LAN to a guest's. Throws PORT_TAKEN, PORT_DENIED, NO_SUCH_ADDRESS. */
  expose(exposure: NetdExposure): Promise<void>;
  unexpose(exposure: NetdExposure): Promise<void>;
  /** Holds a NIC that a guest has to a shape; `nic` is the number by which netd knows it. */
  setShape(network: string, guest: string, nic: number, shape: ShapeNumbers): Promise<NetdReply<'set_shape'>>;
  counters(): Promise<NetdReply<'counters'>>;
  /** Ends every network of the lab and what serves them, and leaves nothing. The guests are off before. */
  release(): Promise<void>;
  /** Ends what serves networks in this scope where it serves none, for any lab; whether there was somebody. */
  endIdle(): Promise<boolean>;
  /** Removes directories of the lab that are empty: of a lab that is down. */
  tidy(): void;
  /** Lets go of everything, which runs on. */
  close(): void;
  /** A guest of the lab; nothing is started. */
  guest(spec: Omit<GuestSpec, 'lab' | 'netdSocket'>): GuestHandle;
  /** Where the guest's taps come from. */
  readonly netdSocket: string;
}
