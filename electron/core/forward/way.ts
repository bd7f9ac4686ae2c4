// SPDX-License-Identifier: Apache-2.0
import { TapyardError } from '../../contract/error.ts';
import { listeningText, type NetworkMode } from '../../contract/lab-file.ts';
import type { Scope } from '../../contract/names.ts';
import type { ForwardRow } from '../../contract/rows.ts';
import type { Picture } from '../net/picture.ts';
import type { WantedForward } from './forward-set.ts';

/** What decides how a forward is made. */
export interface Surroundings {
  readonly scope: Scope;
  /** Null while nothing is observed. */
  readonly picture: Pick<Picture, 'uplink'> | null;
}

const isLoopback = (address: string): boolean => address.startsWith('127.');

/** What a rule can lead to; a bridged network has no rules of ours, and nothing is let into an isolated one. */
const hasWayIn = (mode: NetworkMode | null): boolean => mode === null || mode === 'nat' || mode === 'routed';

/**
 * By a rule of the kernel's, where that can be: at the uplink's addresses in the host scope. Everything else by a
 * process that listens.
 */
export function wayOf(
  { address, mode }: Pick<WantedForward, 'address' | 'mode'>,
  { scope, picture }: Surroundings,
): ForwardRow['way'] {
  if (scope !== 'host' || isLoopback(address) || !hasWayIn(mode)) return 'process';
  if (address === '0.0.0.0' || picture === null) return 'rule';
  return picture.uplink.addresses.some((cidr) => cidr.split('/')[0] === address) ? 'rule' : 'process';
}

/**
 * Why there is nothing that would carry a forward of UDP; undefined where there is. A process that listens passes on
 * connections, which UDP has not.
 */
export function udpRefusal(
  { guest, mode, ...at }: Omit<WantedForward, 'to' | 'target'>,
  surroundings: Surroundings,
): TapyardError | undefined {
  if (at.protocol !== 'udp' || wayOf({ ...at, mode }, surroundings) === 'rule') return undefined;
  const why =
    surroundings.scope !== 'host'
      ? 'the private scope has no address of this computer’s'
      : isLoopback(at.address)
        ? 'only this computer’s programs reach that address'
        : hasWayIn(mode)
          ? `${at.address} is no address of the uplink’s`
          : `nothing is let into a network of mode ${mode}`;
  return new TapyardError(
    'UDP_NEEDS_RULE',
    `${listeningText(at)} cannot lead to ${guest}: there is no rule for it: ${why}.`,
    {
      hint: `Forward it from the network, in the host scope (tapyard scope host): tapyard forward ${guest} ${at.port} --udp --address 0.0.0.0`,
      subject: listeningText(at),
    },
  );
}

/** Throws UDP_NEEDS_RULE. */
export function refuseUdp(...forward: Parameters<typeof udpRefusal>): void {
  const refused = udpRefusal(...forward);
  if (refused) throw refused;
}
