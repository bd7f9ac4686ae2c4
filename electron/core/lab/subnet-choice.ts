// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from 'node:util';
import type { LabDefinition } from '../../contract/lab-file.ts';
import type { NetworkRow } from '../../contract/rows.ts';
import { freeSubnet, type UsedSubnet } from '../net/free-subnet.ts';
import { formatSubnet, subnetOf } from '../net/ipv4.ts';
import { hostSubnets } from '../net/used-subnets.ts';
import { readKeptSubnets, stillFree, writeKeptSubnets } from './kept-subnets.ts';
import { chooseSubnets, type ResolvedLab } from './resolve.ts';

/** By this computer's addresses and routes, and by the networks of other labs than `lab`. */
export function usedElsewhere(lab: string, networks: readonly NetworkRow[]): UsedSubnet[] {
  const others = networks.filter((row) => row.lab !== lab);
  return [
    ...hostSubnets(),
    ...others.flatMap(({ id, wanted }) =>
      typeof wanted?.subnet === 'string' ? [{ subnet: subnetOf(wanted.subnet), by: id }] : [],
    ),
  ];
}

/**
 * The subnets that the file leaves open, by network. Once chosen, one stays; `mayMove` is said of a lab that is
 * down, and takes another for one that somebody took meanwhile.
 */
export function keepSubnets(
  lab: string,
  definition: LabDefinition,
  used: readonly UsedSubnet[],
  mayMove: boolean,
): ReadonlyMap<string, string> {
  const kept = readKeptSubnets(lab);
  const chosen = chooseSubnets(definition, mayMove ? stillFree(kept, used) : kept, used);
  if (!isDeepStrictEqual(chosen, kept)) writeKeptSubnets(lab, chosen);
  return chosen;
}

/** What subnets are in use elsewhere and by whom, and one that is free for one more network. */
export function offerSubnet(
  lab: ResolvedLab,
  usedElsewhereNow: readonly UsedSubnet[],
  running: boolean,
): { free: string; used: { subnet: string; by: string }[] } {
  const own = lab.networks.flatMap(({ name, subnet }) =>
    subnet === null ? [] : [{ subnet: subnetOf(subnet), by: name }],
  );
  const names = new Set(own.map(({ by }) => by));
  // In the host scope the lab's own bridges are among the computer's interfaces.
  const used = usedElsewhereNow.filter(({ by }) => !running || !names.has(by));
  return {
    free: freeSubnet([lab.name, String(own.length)], [...used, ...own]),
    used: used.map(({ subnet, by }) => ({ subnet: formatSubnet(subnet), by })),
  };
}
