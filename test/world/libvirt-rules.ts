// SPDX-License-Identifier: Apache-2.0

/** The tables of libvirt's nftables back end. */
export const libvirtTables = ['ip libvirt_network', 'ip6 libvirt_network'];

/**
 * What that back end makes (libvirt 10.4 and later, src/network/network_nftables.c) for one NAT network of IPv4;
 * test/newer/libvirt.test.ts compares it with the real one.
 */
export function libvirtRules(bridge: string, subnet: string): string {
  return `${table(
    'ip',
    {
      output: `ip saddr ${subnet} iif "${bridge}" counter accept; iif "${bridge}" counter reject;`,
      input: `oif "${bridge}" ip daddr ${subnet} ct state established,related counter accept
      oif "${bridge}" counter reject;`,
      cross: `iif "${bridge}" oif "${bridge}" counter accept;`,
    },
    `ip saddr ${subnet} ip daddr 224.0.0.0/24 counter return
      ip saddr ${subnet} ip daddr 255.255.255.255 counter return
      meta l4proto tcp ip saddr ${subnet} ip daddr != ${subnet} counter masquerade to :1024-65535
      meta l4proto udp ip saddr ${subnet} ip daddr != ${subnet} counter masquerade to :1024-65535
      ip saddr ${subnet} ip daddr != ${subnet} counter masquerade;`,
  )}${table('ip6', { output: '', input: '', cross: '' }, '')}`;
}

function table(
  family: 'ip' | 'ip6',
  guest: { output: string; input: string; cross: string },
  nat: string,
): string {
  return `
  table ${family} libvirt_network {
    chain forward { type filter hook forward priority filter; policy accept;
      counter jump guest_cross
      counter jump guest_input
      counter jump guest_output; }
    chain guest_output { ${guest.output} }
    chain guest_input { ${guest.input} }
    chain guest_cross { ${guest.cross} }
    chain guest_nat { type nat hook postrouting priority srcnat; policy accept; ${nat} }
  }`;
}
