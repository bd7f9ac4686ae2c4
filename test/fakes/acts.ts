// SPDX-License-Identifier: Apache-2.0
import type { ActRow } from '../../electron/contract/act.ts';

const core = { uid: 1000, user: 'ada', pid: 4711, program: 'node', client: 'core' } as const;

const act = (order: number, part: Partial<ActRow>): ActRow => ({
  id: `seed/${order}`,
  lab: 'seed',
  order,
  time: Date.UTC(2026, 0, 2, 13, 4, 5) + order * 37,
  network: 'seed/br0',
  by: core,
  cause: null,
  what: 'switched br0 on',
  command: 'ip link set br0 up',
  error: null,
  ...part,
});

/** A log with something of each kind, and `more` ordinary acts before. */
export function sampleActs(more = 0): ActRow[] {
  const table = [
    'table inet tapyard_1000 {',
    ...Array.from({ length: 60 }, (_, at) => `\tset s${at} { }`),
    '}',
  ];
  const parts: Partial<ActRow>[] = [
    ...Array.from({ length: more }, () => ({})),
    {
      what: 'made bridge br0',
      command:
        'ip link add br0 address 52:54:00:b3:53:83 mtu 1500 type bridge stp_state 0 forward_delay 0 no_linklocal_learn 1\nip link set br0 alias tapyard:1000:seed:br0',
    },
    { what: 'gave br0 the address 192.168.57.1', command: 'ip addr add 192.168.57.1/24 brd + dev br0' },
    {},
    { what: 'set up the filter of br0', command: `nft -f - <<'END'\n${table.join('\n')}\nEND` },
    {
      what: 'made tap0 for NIC 0 of guest',
      by: { ...core, pid: 4720, program: 'tapyard-tap', client: 'tap' },
      command: 'ip tuntap add dev tap0 mode tap vnet_hdr',
    },
    { what: 'switched NAT of br0 off', command: `nft add element inet tapyard_1000 nat_off '{ "br0" }'` },
    {
      what: 'refused open_tap',
      network: 'seed/lan',
      command: null,
      error: {
        code: 'BRIDGE_NOT_ALLOWED',
        message: 'br-lan is no bridge that ada may put guests on',
        hint: 'Root may allow it in /etc/tapyard/netd.conf:\nallow-bridge ada br-lan',
        subject: 'br-lan',
      },
    },
    {
      what: 'set up the filter of br0',
      by: null,
      cause: 'somebody changed the firewall',
      command: `nft -f - <<'END'\n${table.join('\n')}\nEND`,
    },
    {
      what: "follows the way out from eth0 to wg0, where this computer's default route leads now",
      by: null,
      cause: 'the way out changed',
      network: null,
      command: null,
    },
  ];
  return parts.map((part, index) => act(index + 1, part));
}
