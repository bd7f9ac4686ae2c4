// SPDX-License-Identifier: Apache-2.0
import { shapeNumbers, type ShapeDefinition } from '../../contract/shape.ts';
import { shellWord } from './shell-quote.ts';

/** A frame's header and a VLAN's tag, which the MTU does not count. */
const frameHeader = 18;
/** What netem's queue is made for where there is no rate, bytes per second. */
const netemRate = 1_000_000_000 / 8;

/** The interface beside a tap where waits what comes from its guest. */
export const ifbOf = (tap: string): string => `ifb-${tap}`;

/** What holds a tap to a shape, in the commands of netd (native/netd/src/engine/shaper.rs). */
export function shapeCommands(
  { tap, mac, alias, mtu }: { tap: string; mac: string; alias: string; mtu: number },
  shape: ShapeDefinition,
): string[] {
  const ifb = ifbOf(tap);
  const words = discipline(shape, mtu);
  return [
    `tc qdisc replace dev ${tap} root ${words}`,
    `ip link add ${ifb} address ${mac} mtu ${mtu} type ifb`,
    `ip link set ${ifb} alias ${shellWord(alias)}`,
    `tc qdisc replace dev ${ifb} root ${words}`,
    `echo 1 > /proc/sys/net/ipv6/conf/${ifb}/disable_ipv6`,
    `ip link set ${ifb} addrgenmode none up`,
    `tc qdisc add dev ${tap} ingress`,
    `tc filter add dev ${tap} parent ffff: protocol all prio 1 u32 match u32 0 0 action mirred egress redirect dev ${ifb}`,
  ];
}

/** The queueing discipline, in tc's words; the sizes as native/netd/src/rtnl/qdisc.rs chooses them. */
function discipline(shape: ShapeDefinition, mtu: number): string {
  const { rate, delay, jitter, loss } = shapeNumbers(shape);
  const bytes = Math.floor(rate / 8);
  const frame = mtu + frameHeader;
  if (delay === 0 && loss === 0) {
    const burst = Math.max(Math.floor(bytes / 100), 2 * frame);
    const limit = burst + Math.max(Math.floor(bytes / 20), 8 * frame);
    return `tbf rate ${bytes * 8}bit burst ${burst} limit ${limit}`;
  }
  const speed = Math.max(Math.floor((bytes === 0 ? netemRate : bytes) / 1000), 1);
  const held = Math.floor((speed * Math.floor((delay + jitter + 50_000) / 1000)) / frame);
  return [
    `netem limit ${Math.min(Math.max(held, 8), 10_000)}`,
    ...(delay === 0 ? [] : [`delay ${delay}us`]),
    ...(jitter === 0 ? [] : [`${jitter}us`]),
    ...(loss === 0 ? [] : [`loss ${loss / 10_000}%`]),
    ...(bytes === 0 ? [] : [`rate ${bytes * 8}bit`]),
  ].join(' ');
}
