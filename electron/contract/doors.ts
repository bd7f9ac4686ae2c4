// SPDX-License-Identifier: Apache-2.0
import type { DoorRow } from './rows.ts';

/** The other firewalls of a host, as people call them. */
export const firewallNames: Readonly<Record<DoorRow['firewall'], string>> = {
  docker: 'Docker',
  firewalld: 'firewalld',
  ufw: 'ufw',
  iptables: 'iptables',
  nftables: 'nftables',
};

/** How it stands with a firewall that would drop what a network sends: in whose chain, and what was done there. */
export function doorWords({ chain, firewall, state }: Omit<DoorRow, 'command'>): string {
  const where = `${firewallNames[firewall]}, ${chain}`;
  switch (state) {
    case 'open':
      return `${where}: would drop it, lets it through`;
    case 'opening':
      return `${where}: would drop it, was asked to let it through`;
    case 'shut':
      return `${where}: drops it`;
    case 'unseen':
      return `${where}: may drop it, which is root’s to see`;
  }
}
