// SPDX-License-Identifier: Apache-2.0
import { subnetOf } from '../net/ipv4.ts';
import { digitsOf, linkLocalOf, rangeOf } from '../net/ipv6.ts';
import {
  ipv6AddressOf,
  isOwn,
  type ResolvedGuest,
  type ResolvedNetwork,
  type ResolvedNic,
} from './resolve.ts';

/**
 * netd's guard against spoofing as nft's text: docs/netd-protocol.md, "Anti-spoofing". Its ports come with their
 * taps; empty where no network wants it.
 */
export function guardTable(uid: number, networks: readonly ResolvedNetwork[]): string {
  // Bridged networks may share a bridge.
  const guarded = new Map(
    networks.filter(({ antispoof }) => antispoof).map((network) => [bridgeName(network), network]),
  );
  if (guarded.size === 0) return '';
  const lines = [
    `table bridge tapyard_${uid} {`,
    ...sets,
    networkMap('source', networks),
    networkMap('target', networks),
    ...[...guarded.values()].flatMap(networkSets),
    ...baseChains,
    ...[...guarded.keys()].flatMap(networkChains),
    '}',
  ];
  return lines.join('\n');
}

/**
 * The group of interfaces that a network's taps are in: the first address of its subnet without its last two
 * bits, which are zero (ip takes no number of 32 bits), or, of a bridged network, a hash of its bridge's name
 * (FNV-1a, above all of those); null without a guard.
 */
export function guardGroup(network: ResolvedNetwork): number | null {
  if (!network.antispoof) return null;
  if (isOwn(network)) return subnetOf(network.subnet).network / 4;
  const bytes = new TextEncoder().encode(bridgeName(network));
  const hash = bytes.reduce((sum, byte) => Math.imul(sum ^ byte, 0x01_00_01_93), 0x81_1c_9d_c5);
  return 2 ** 30 + (hash >>> 2);
}

/** The commands that let a tap send as its NIC. */
export function guardTap(
  uid: number,
  network: ResolvedNetwork,
  guest: ResolvedGuest,
  nic: ResolvedNic,
): string[] {
  if (!network.antispoof) return [];
  const add = (set: string, element: string): string =>
    `nft add element bridge tapyard_${uid} ${set} '{ ${element} }'`;
  const { tap, mac } = nic;
  const address = add('addresses', `"${tap}" . ${mac} . ${nic.address ?? 'ADDRESS'}`);
  const whose =
    nic.address === null ? `# once DHCP has given ${guest.name} its ADDRESS: ${address}` : address;
  return [
    add('macs', `"${tap}" . ${mac}`),
    add('chaddrs', `"${tap}" . 0x${mac.replaceAll(':', '')}`),
    ...(isOwn(network) ? [whose] : [add('bridged', `"${tap}"`)]),
    add('guarded', `"${tap}"`),
  ];
}

/** The bridge that the network's taps are ports of. */
const bridgeName = ({ name, uplink }: ResolvedNetwork): string => uplink ?? name;

const firstCome = 'size 65535; flags dynamic,timeout; timeout 1h;';

const sets = [
  '\tset guarded { type iface_index; }',
  '\tset bridged { type iface_index; }',
  '\tset macs { type iface_index . ether_addr; }',
  '\tset chaddrs { typeof iif . @th,288,48; }',
  '\tset addresses { type iface_index . ether_addr . ipv4_addr; }',
  `\tset sources { type iface_index . ipv6_addr; ${firstCome} }`,
  `\tset targets { typeof iif . @th,64,128; ${firstCome} }`,
  '\tset newcomers { type iface_index; size 65535; flags dynamic; }',
];

/** From each group of ports to the chain of their bridge. */
function networkMap(map: string, networks: readonly ResolvedNetwork[]): string {
  const chains = new Map(networks.map((network) => [guardGroup(network), bridgeName(network)]));
  chains.delete(null);
  const elements = [...chains].map(([group, bridge]) => `${group} : jump ${map}_${bridge}`);
  return `\tmap ${map} { type devgroup : verdict; elements = { ${elements.join(', ')} } }`;
}

/** Where a network's IPv6 addresses lie, the link-local ones besides; a bridged one may have any. */
const prefixes = (network: ResolvedNetwork): string[] => {
  const known = isOwn(network) ? (network.ipv6 ?? []) : ['2000::/3', 'fc00::/7'];
  return [known, 'fe80::/64'].flat();
};

/**
 * The bridge's own and those of all routers (RFC 4291, 2.6.1), which are no guest's; of an administrator's netd asks
 * the kernel.
 */
const hosts = (network: ResolvedNetwork): string[] => {
  if (!isOwn(network)) return [];
  const ofRouters = prefixes(network).map((prefix) => prefix.replace('/64', ''));
  const own = [ipv6AddressOf(network, network.address), linkLocalOf(network.mac)];
  return [...ofRouters, ...own].filter((address) => address !== null);
};

const elements = (list: readonly string[]): string =>
  list.length === 0 ? '' : ` elements = { ${list.join(', ')} }`;

const networkSets = (network: ResolvedNetwork): string[] => {
  const name = bridgeName(network);
  const kept = isOwn(network)
    ? []
    : [`\t# netd keeps what this computer and its router have there: ip -6 addr show dev ${name}`];
  return [
    `\tset source_prefixes_${name} { type ipv6_addr; flags interval;${elements(prefixes(network))} }`,
    `\tset target_prefixes_${name} { typeof @th,64,128; flags interval;${elements(prefixes(network).map(rangeOf))} }`,
    ...kept,
    `\tset host_sources_${name} { type ipv6_addr;${elements(hosts(network))} }`,
    `\tset host_targets_${name} { typeof @th,64,128;${elements(hosts(network).map((own) => `0x${digitsOf(own)}`))} }`,
    `\tset sources_${name} { type ipv6_addr; ${firstCome} }`,
    `\tset targets_${name} { typeof @th,64,128; ${firstCome} }`,
  ];
};

const arp = 'arp htype 1 arp ptype ip arp hlen 6 arp plen 4';

const baseChains = [
  '\tchain prerouting {',
  '\t\ttype filter hook prerouting priority filter; policy accept;',
  '\t\tiif @guarded goto guest',
  '\t}',
  '\tchain guest {',
  '\t\tiif . ether saddr != @macs counter drop',
  '\t\tether type arp goto guest_arp',
  '\t\tether type ip goto guest_ipv4',
  '\t\tether type ip6 goto guest_ipv6',
  '\t\tcounter drop',
  '\t}',
  '\tchain guest_arp {',
  `\t\t${arp} iif . arp saddr ether . arp saddr ip @addresses accept`,
  `\t\t${arp} arp operation request arp saddr ip 0.0.0.0 iif . arp saddr ether @macs accept`,
  `\t\tiif @bridged ${arp} iif . arp saddr ether @macs accept`,
  '\t\tcounter drop',
  '\t}',
  '\tchain guest_ipv4 {',
  '\t\tudp sport 67 counter drop',
  '\t\tudp dport 67 goto guest_dhcp',
  '\t\tiif . ether saddr . ip saddr @addresses accept',
  '\t\tiif @bridged jump guest_whole',
  '\t\tiif @bridged accept',
  '\t\tcounter drop',
  '\t}',
  '\tchain guest_dhcp {',
  '\t\tip saddr 0.0.0.0 iif . @th,288,48 @chaddrs accept',
  '\t\tiif . ether saddr . ip saddr @addresses iif . @th,288,48 @chaddrs accept',
  '\t\tiif @bridged iif . @th,288,48 @chaddrs accept',
  '\t\tcounter drop',
  '\t}',
  '\tchain guest_ipv6 {',
  '\t\ticmpv6 type nd-router-advert counter drop',
  '\t\ticmpv6 type nd-redirect counter drop',
  '\t\tudp sport 547 counter drop',
  '\t\ticmpv6 type nd-neighbor-advert jump guest_advert',
  '\t\tip6 saddr :: icmpv6 type nd-neighbor-solicit iifgroup vmap @target',
  '\t\tjump guest_whole',
  '\t\tgoto guest_source',
  '\t}',
  '\tchain guest_advert {',
  '\t\tiifgroup vmap @target',
  '\t\tiif . @th,64,128 @targets return',
  '\t\tcounter drop',
  '\t}',
  '\tchain guest_whole {',
  '\t\t@th,0,8 & 0x0 == 0x0 return',
  '\t\tip frag-off & 0x1fff != 0 return',
  '\t\tfrag frag-off != 0 return',
  '\t\tcounter drop',
  '\t}',
  '\tchain guest_source {',
  '\t\tip6 saddr :: meta l4proto ipv6-icmp accept',
  '\t\tmeta l4proto != ipv6-icmp iif . ip6 saddr @sources accept',
  '\t\ticmpv6 type != nd-neighbor-solicit icmpv6 type != nd-neighbor-advert iif . ip6 saddr @sources accept',
  '\t\tiifgroup vmap @source',
  '\t\tiif . ip6 saddr @sources accept',
  '\t\tcounter drop',
  '\t}',
];

const limit = 'add @newcomers { iif limit rate over 1/minute burst 64 packets } counter drop';

const networkChains = (name: string): string[] => [
  `\tchain source_${name} {`,
  `\t\tip6 saddr != @source_prefixes_${name} counter drop`,
  `\t\tip6 saddr @host_sources_${name} counter drop`,
  `\t\tiif . ip6 saddr != @sources ip6 saddr @sources_${name} counter drop`,
  `\t\tiif . ip6 saddr != @sources ${limit}`,
  `\t\tupdate @sources_${name} { ip6 saddr }`,
  '\t\tupdate @sources { iif . ip6 saddr }',
  '\t}',
  `\tchain target_${name} {`,
  `\t\t@th,64,128 != @target_prefixes_${name} return`,
  `\t\t@th,64,128 @host_targets_${name} return`,
  `\t\tiif . @th,64,128 != @targets @th,64,128 @targets_${name} return`,
  `\t\tiif . @th,64,128 != @targets ${limit}`,
  `\t\tupdate @targets_${name} { @th,64,128 }`,
  '\t\tupdate @targets { iif . @th,64,128 }',
  '\t}',
];
