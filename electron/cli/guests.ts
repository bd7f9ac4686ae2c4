// SPDX-License-Identifier: Apache-2.0
import type { GuestRow } from '../contract/rows.ts';
import { safeLine } from './terminal.ts';

/** A guest in `ls --json`: stable for scripts. null where there is none now. */
export interface GuestEntry {
  lab: string;
  name: string;
  state: GuestRow['state'];
  pid: number | null;
  accelerator: GuestRow['accelerator'];
  nics: { network: string; tap: string | null; mac: string; address: string | null }[];
  /** Those that it has and the lab file has not, until the next `up`. */
  leftNics: GuestRow['leftNics'];
  sockets: GuestRow['sockets'];
  serialRecord: string;
}

/** A row of the guests' table as scripts get it. */
export function guestEntry(guest: GuestRow): GuestEntry {
  return {
    lab: guest.lab,
    name: guest.name,
    state: guest.state,
    pid: guest.pid,
    accelerator: guest.accelerator,
    nics: guest.nics.map(({ network, tap, mac, address }) => ({ network, tap, mac, address })),
    leftNics: guest.leftNics,
    sockets: guest.sockets,
    serialRecord: guest.serialRecord,
  };
}

/** A guest on one line: its name, state and addresses. */
export function reachText(guest: GuestRow): string {
  const addresses = guest.nics.flatMap((nic) => (nic.address === null ? [] : [nic.address]));
  const where = addresses.length === 0 ? '' : `  ${addresses.join(', ')}`;
  return safeLine(`${guest.name}  ${guest.state}${where}  (tapyard console ${guest.name})`);
}
