// SPDX-License-Identifier: Apache-2.0
import { type InterfaceNetwork, ipv6AddressOf, isOwn, type OwnNetwork } from './resolve.ts';

/** The group of the bridges that a netd's filter holds: docs/netd-protocol.md, "Labels". */
export const heldGroup = 0x7461_7079;

/**
 * netd's filter as nft's text: docs/netd-protocol.md, "The filter". `opened` is left empty: which interfaces
 * forwarded before is known only where it is made. One table for each uid.
 */
export function filterTable(
  uid: number,
  networks: readonly (OwnNetwork | InterfaceNetwork)[],
  uplink: string | null,
  uplink6: string | null,
): string {
  const names = networks.map((network) => `"${network.name}"`);
  const off = networks
    .filter(({ mode, nat }) => mode === 'nat' && !nat)
    .map((network) => `"${network.name}"`);
  const lines = [
    `table inet tapyard_${uid} {`,
    set('bridges', 'ifname', names),
    set(
      'addressed',
      'ifname',
      networks.filter(isOwn).map((network) => `"${network.name}"`),
    ),
    set(
      'switched',
      'ifname . ifname',
      names.map((name) => `${name} . ${name}`),
    ),
    set('uplinks', 'ifname', uplink === null ? [] : [`"${uplink}"`]),
    set('uplinks6', 'ifname', uplink6 === null ? [] : [`"${uplink6}"`]),
    set('nat_off', 'ifname', off),
    set('draining', 'ifname; flags timeout', []),
    set('opened', 'ifname', []),
    set('opened6', 'ifname', []),
    set('router', 'nf_proto', []),
    set(
      'bridge_addresses',
      'ipv4_addr',
      networks.flatMap((network) => network.address ?? []),
    ),
    set(
      'bridge_addresses6',
      'ipv6_addr',
      networks.filter(isOwn).flatMap((network) => ipv6AddressOf(network, network.address) ?? []),
    ),
    set(
      'nat_sources',
      'ipv4_addr; flags interval',
      networks.flatMap(({ mode, subnet }) => (mode === 'nat' ? [subnet] : [])),
    ),
    set(
      'nat_sources6',
      'ipv6_addr; flags interval',
      networks.flatMap(({ mode, ipv6 }) => (mode === 'nat' && ipv6 !== null ? [ipv6] : [])),
    ),
    '\tmap exposed { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }',
    map('out', networks),
    map('in', networks),
    ...baseChains,
    ...networks.flatMap(chains),
    '}',
  ];
  return lines.join('\n');
}

function set(name: string, type: string, elements: readonly string[]): string {
  const filled = elements.length === 0 ? '' : ` elements = { ${elements.join(', ')} }`;
  return `\tset ${name} { type ${type};${filled} }`;
}

function map(name: 'out' | 'in', networks: readonly (OwnNetwork | InterfaceNetwork)[]): string {
  const elements = networks.map((network) => `"${network.name}" : jump ${name}_${network.name}`);
  const filled = elements.length === 0 ? '' : ` elements = { ${elements.join(', ')} }`;
  return `\tmap ${name} { type ifname : verdict;${filled} }`;
}

function chains({ name, mode, subnet, ipv6 }: OwnNetwork | InterfaceNetwork): string[] {
  const established = 'ct state established,related accept';
  const out6 = ipv6 === null ? [] : [`oifname @uplinks6 ip6 saddr ${ipv6} accept`];
  const in6 = ipv6 === null ? [] : [`iifname @uplinks6 ip6 daddr ${ipv6} accept`];
  // NAT leaves an invalid packet as it is: it would carry its private source onto the wire.
  const invalid = mode === 'nat' ? ['ct state invalid counter drop'] : [];
  // Neither of the others goes through this computer.
  const shut = mode === 'isolated' || mode === 'bridged';
  const out = shut ? [] : [...invalid, `oifname @uplinks ip saddr ${subnet} accept`, ...out6, established];
  const routed = mode === 'routed' ? [`iifname @uplinks ip daddr ${subnet} accept`, ...in6] : [];
  const exposed = mode === 'nat' ? ['iifname @uplinks ct status dnat accept'] : [];
  const into = shut ? [] : [...exposed, ...routed, established];
  const chain = (direction: 'out' | 'in', rules: readonly string[]): string[] => [
    `\tchain ${direction}_${name} {`,
    ...[...rules, 'counter drop'].map((rule) => `\t\t${rule}`),
    '\t}',
  ];
  return [...chain('out', out), ...chain('in', into)];
}

const baseChains = [
  '\tchain forward {',
  '\t\ttype filter hook forward priority filter; policy accept;',
  '\t\tiifname . oifname @switched accept',
  `\t\tiifname @bridges oifgroup ${heldGroup} counter drop`,
  '\t\tiifname @bridges tcp flags syn tcp option maxseg size set rt mtu',
  '\t\toifname @bridges tcp flags syn tcp option maxseg size set rt mtu',
  '\t\tiifname @nat_off jump shut',
  '\t\toifname @nat_off oifname != @draining jump shut',
  '\t\toifname "up0" tcp window >= 64 tcp window set tcp window & 65520',
  '\t\tiifname vmap @out',
  '\t\toifname vmap @in',
  `\t\toifgroup ${heldGroup} accept`,
  '\t\tmeta nfproto ipv4 iifname @opened counter drop',
  '\t\tmeta nfproto ipv6 iifname @opened6 counter drop',
  `\t\tmeta nfproto @router iifgroup != ${heldGroup} ip6 daddr != ff00::/8 counter drop`,
  '\t}',
  '\tchain shut {',
  '\t\ttcp flags ! syn ct state established counter reject with icmpx no-route',
  '\t\tcounter drop',
  '\t}',
  '\tchain input {',
  '\t\ttype filter hook input priority filter; policy accept;',
  '\t\tip daddr @bridge_addresses fib daddr . iif type unicast jump to_bridge',
  '\t\tip6 daddr @bridge_addresses6 fib daddr . iif type unicast jump to_bridge',
  '\t\tiifname @bridges jump to_host',
  '\t}',
  '\tchain to_bridge {',
  '\t\tiif "lo" return',
  '\t\tct state established,related return',
  '\t\tcounter drop',
  '\t}',
  '\tchain to_host {',
  '\t\tfib saddr . iif oif missing counter drop',
  '\t\tct state established,related accept',
  '\t\tmeta l4proto icmp accept',
  '\t\tmeta l4proto ipv6-icmp accept',
  '\t\tfib daddr . iif type unicast counter drop',
  '\t\tudp dport 67 accept',
  '\t\tudp dport 547 @th,64,8 6 counter drop',
  '\t\tudp dport 547 @th,64,8 12 counter drop',
  '\t\tudp dport 547 accept',
  '\t\tudp dport 53 accept',
  '\t\ttcp dport 53 accept',
  '\t\tcounter drop',
  '\t}',
  '\tchain prerouting {',
  '\t\ttype filter hook prerouting priority raw; policy accept;',
  '\t\tiifname @addressed fib saddr type local counter drop',
  '\t}',
  '\tchain output {',
  '\t\ttype filter hook output priority raw; policy accept;',
  '\t\toifname @bridges meta l4proto igmp notrack',
  '\t}',
  '\tchain nat_prerouting {',
  '\t\ttype nat hook prerouting priority dstnat + 10; policy accept;',
  '\t\tiifname @uplinks dnat ip to ip daddr . meta l4proto . th dport map @exposed',
  '\t}',
  '\tchain nat_output {',
  '\t\ttype nat hook output priority -90; policy accept;',
  '\t\tdnat ip to ip daddr . meta l4proto . th dport map @exposed',
  '\t}',
  '\tchain nat_postrouting {',
  '\t\ttype nat hook postrouting priority srcnat; policy accept;',
  '\t\toifname @uplinks ip saddr @nat_sources counter masquerade',
  '\t\toifname @uplinks6 ip6 saddr @nat_sources6 counter masquerade',
  '\t}',
];
