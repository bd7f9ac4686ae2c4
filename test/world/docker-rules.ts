// SPDX-License-Identifier: Apache-2.0

/** The tables of Docker's nftables back end. */
export const dockerTables = ['ip docker-bridges', 'ip6 docker-bridges'];

/**
 * What that back end (Docker 29 and later, --firewall-backend=nftables) makes for docker0, for a network with a
 * container that publishes a port, and for an internal one; test/newer/docker.test.ts compares it with the real one.
 * `policy` is that of what is forwarded: Docker leaves it at accept, and drop is an administrator's.
 */
export function dockerRules(policy: 'accept' | 'drop' = 'accept'): string {
  return table('ip', policy) + table('ip6', policy);
}

function table(family: 'ip' | 'ip6', policy: string): string {
  const [loopback, docker0, web, container, published] =
    family === 'ip'
      ? ['127.0.0.0/8', '172.17.0.0/16', '192.0.2.0/24', '192.0.2.2', '192.0.2.2:80']
      : ['::1', 'fd00:d0c::/64', '2001:db8:1::/64', '2001:db8:1::2', '[2001:db8:1::2]:80'];
  const notLinkLocal = family === 'ip' ? '' : 'ip6 saddr != fe80::/10';
  const bridges = ['docker0', 'web', 'internal'];
  const jumps = (chain: string): string => `
    map ${chain}-jumps { type ifname : verdict
      elements = { ${bridges.map((bridge) => `"${bridge}" : jump ${chain}__${bridge}`).join(', ')} } }`;
  const outgoing = (bridge: string, subnet: string): string => `
    chain filter-forward-out__${bridge} { ct state established,related counter accept
      counter accept comment "OUTGOING"; }
    chain nat-postrouting-in__${bridge} { }
    chain nat-postrouting-out__${bridge} {
      oifname != "${bridge}" ${family} saddr ${subnet} counter masquerade comment "MASQUERADE"; }`;
  const incoming = (bridge: string, ports: string): string => `
    chain filter-forward-in__${bridge} { ct state established,related counter accept
      iifname "${bridge}" counter accept comment "ICC"
      ${ports}
      counter drop comment "UNPUBLISHED PORT DROP"; }`;
  return `
  table ${family} docker-bridges {
    ${['filter-forward-in', 'filter-forward-out', 'nat-postrouting-in', 'nat-postrouting-out'].map(jumps).join('')}
    chain filter-FORWARD { type filter hook forward priority filter; policy ${policy};
      oifname vmap @filter-forward-in-jumps
      iifname vmap @filter-forward-out-jumps; }
    chain nat-OUTPUT { type nat hook output priority -100; policy accept;
      ${family} daddr != ${loopback} fib daddr type local counter jump nat-prerouting-and-output; }
    chain nat-POSTROUTING { type nat hook postrouting priority srcnat; policy accept;
      iifname vmap @nat-postrouting-out-jumps
      oifname vmap @nat-postrouting-in-jumps; }
    chain nat-PREROUTING { type nat hook prerouting priority dstnat; policy accept;
      fib daddr type local counter jump nat-prerouting-and-output; }
    chain nat-prerouting-and-output {
      iifname != "web" ${notLinkLocal} tcp dport 8080 counter dnat to ${published} comment "DNAT"; }
    chain raw-PREROUTING { type filter hook prerouting priority raw; policy accept;
      ${family} daddr ${container} iifname != "web" counter drop comment "DROP DIRECT ACCESS"; }
    ${incoming('docker0', '')}
    ${outgoing('docker0', docker0)}
    ${incoming('web', `${family} daddr ${container} tcp dport 80 counter accept`)}
    ${outgoing('web', web)}
    chain filter-forward-in__internal { ct state established,related counter accept
      iifname != "internal" counter drop comment "INTERNAL NETWORK INGRESS"
      counter accept comment "ICC"; }
    chain filter-forward-out__internal { ct state established,related counter accept
      oifname != "internal" counter drop comment "INTERNAL NETWORK EGRESS"; }
    chain nat-postrouting-in__internal { }
    chain nat-postrouting-out__internal { }
  }`;
}
