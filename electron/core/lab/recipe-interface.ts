// SPDX-License-Identifier: Apache-2.0
import { bridgeIn, hasPort, networkIn } from '../net/picture.ts';
import { heldGroup } from './filter.ts';
import type { Held, RecipeStep } from './recipe.ts';
import { forwarding } from './recipe.ts';
import type { InterfaceNetwork } from './resolve.ts';
import { shellWord } from './shell-quote.ts';

const disableIpv6 = (device: string, value: 0 | 1): string => {
  const file = `/proc/sys/net/ipv6/conf/${device}/disable_ipv6`;
  return `[ ! -e ${file} ] || echo ${value} > ${file}`;
};

/**
 * A bridge with an interface of this computer's as a port. `filter` writes the tables; null where a network before
 * it does.
 */
export function interfaceSteps(
  network: InterfaceNetwork,
  lab: string,
  uid: number,
  filter: string | null,
): RecipeStep[] {
  const { name, interface: device, mac, antispoof } = network;
  const bridge = (held: Held): ReturnType<typeof bridgeIn> => bridgeIn(held.picture, lab, name);
  const observed = (held: Held): ReturnType<typeof networkIn> => networkIn(held.picture, lab, name);
  const alias = shellWord(`tapyard:${uid}:${lab}:${name}`);
  const step = (id: string, title: string, command: string[], holds: RecipeStep['holds']): RecipeStep => ({
    id: `${lab}/${name}/${id}`,
    part: 'network',
    title,
    command: command.join('\n'),
    network: `${lab}/${name}`,
    guest: null,
    by: null,
    holds,
  });
  return [
    step(
      'bridge',
      `bridge ${name}, with the MTU of its first port`,
      [
        // Without snooping the bridge asks nobody about multicast: it says nothing on the network there.
        `ip link add ${name} address ${mac} type bridge stp_state 0 forward_delay 0 no_linklocal_learn 1 mcast_snooping 0`,
        `ip link set ${name} alias ${alias}`,
      ],
      (held) => bridge(held)?.kind === 'bridge',
    ),
    step(
      'bridge_up',
      `${name} on; this computer has no address there and answers for none`,
      [disableIpv6(name, 1), `ip link set ${name} arp off up`],
      (held) => bridge(held)?.up ?? false,
    ),
    step(
      'forwarding',
      `no forwarding between ${name} and others`,
      [forwarding(name, false)],
      (held) => observed(held)?.forwarding === false,
    ),
    step(
      'filter',
      antispoof
        ? `this computer is shut off from ${name}; guests send as themselves`
        : `this computer is shut off from ${name}`,
      [filter ?? `# ${name} is in the table above`, `ip link set ${name} group ${heldGroup}`],
      (held) => observed(held)?.filter === true && observed(held)?.antispoof === antispoof,
    ),
    step(
      'bridge_port',
      `${device} is a port of ${name}`,
      [
        `ip link set ${device} alias ${alias}`,
        disableIpv6(device, 1),
        `ip link set ${device} master ${name} up`,
      ],
      (held) => {
        const there = bridge(held);
        return there !== undefined && hasPort(held.picture, there, device);
      },
    ),
  ];
}

/** The other way round; whether the interface was up before is not known any more. */
export const giveBack = ({ interface: device }: InterfaceNetwork): string[] => [
  `  ip link set ${device} nomaster alias '' || true`,
  `  ${disableIpv6(device, 0)}`,
];
