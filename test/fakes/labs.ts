// SPDX-License-Identifier: Apache-2.0
import type { GuestRow, LinkRow, NetworkRow } from '../../electron/contract/rows.ts';
import {
  bridgeLinkRow,
  forwardRow,
  guestRow,
  hostRow,
  labRow,
  linkRow,
  networkRow,
  nicState,
  tapLinks,
  type LabRows,
} from './rows.ts';

/** Links of everything that is up: bridges, taps, the uplink; and the bridges' port counts to match. */
function complete(
  rows: Omit<LabRows, 'links' | 'forwards'> & Partial<Pick<LabRows, 'forwards'>>,
  more: readonly LinkRow[] = [],
): LabRows {
  const links = [
    linkRow(rows.labs[0]?.name ?? '', 'up0', { kind: 'tun', addresses: ['169.254.2.2/30'] }),
    ...rows.networks.filter((network) => network.observed !== null).map(bridgeLinkRow),
    ...rows.guests.flatMap(tapLinks),
    ...more,
  ].map((link, index) => ({ ...link, ifindex: index + 2 }));
  const networks = rows.networks.map((network): NetworkRow => {
    if (!network.observed) return network;
    const ports = links.filter((link) => link.master === network.name).length;
    return { ...network, observed: { ...network.observed, ports } };
  });
  return { forwards: [], ...rows, networks, links };
}

/** The lab of the tutorial: one network, one micro guest. */
export function seedLab(): LabRows {
  return complete({
    host: hostRow({
      accelerator: { use: 'tcg', why: 'KVM is present but does not run guests here; using TCG' },
    }),
    labs: [labRow('seed')],
    networks: [networkRow('seed', 'br0', '192.168.57.0/24')],
    guests: [
      guestRow('seed', 'guest', [nicState(0, 'br0', 'tap0', '192.168.57.2')], {
        image: 'micro',
        imageLabel: 'Micro guest',
        accelerator: 'tcg',
      }),
    ],
  });
}

/** The lab of the design reference: web, db, and a router whose first cable is cut. */
export function mockLab(): LabRows {
  const rows = complete({
    host: hostRow(),
    labs: [labRow('seed')],
    networks: [
      networkRow('seed', 'br0', '192.168.57.0/24'),
      networkRow('seed', 'br1', '10.10.0.0/24', { nat: false, dns: false }),
    ],
    guests: [
      guestRow('seed', 'web', [nicState(0, 'br0', 'tap0', '192.168.57.2')]),
      guestRow('seed', 'db', [nicState(0, 'br0', 'tap1', '192.168.57.3')], { pid: 32011 }),
      guestRow(
        'seed',
        'router',
        [{ ...nicState(0, 'br0', 'tap2', null), leased: false }, nicState(1, 'br1', 'tap3', '10.10.0.2')],
        { pid: 32044, imageLabel: 'OpenWrt' },
      ),
    ],
  });
  const links = rows.links.map((link) =>
    link.name === 'tap2' ? { ...link, carrier: false, operstate: 'down' } : link,
  );
  const forwards = rows.guests.filter(({ name }) => name === 'web').map((web) => forwardRow(web, 8080, 80));
  return { ...rows, links, forwards };
}

/** A lab as its file wants it, nothing of it in the kernel. */
export function lower(rows: LabRows): LabRows {
  return {
    ...rows,
    labs: rows.labs.map((lab) => ({ ...lab, state: 'down', uplink: null, error: null })),
    networks: rows.networks.map((network) => ({ ...network, observed: null })),
    links: [],
    guests: rows.guests.map((guest) => ({
      ...guest,
      state: 'shut off',
      pid: null,
      nics: guest.nics.map((nic) => ({ ...nic, tap: null, fd: null, leased: false })),
    })),
  };
}

/** The states that a guest and its ports can be in, one of each. */
export function statesLab(): LabRows {
  // What other firewalls of the host would drop, in each state.
  const withDoors = (network: NetworkRow): NetworkRow => ({
    ...network,
    observed: network.observed && {
      ...network.observed,
      doors: [
        { chain: 'ip filter FORWARD', firewall: 'docker', state: 'open', command: null },
        { chain: 'inet firewalld filter_FORWARD', firewall: 'firewalld', state: 'opening', command: null },
        { chain: 'ip filter INPUT', firewall: 'ufw', state: 'shut', command: 'ufw allow in on br0' },
        {
          chain: 'iptables-legacy filter',
          firewall: 'iptables',
          state: 'unseen',
          command: 'iptables-legacy -S',
        },
      ],
    },
    reason: {
      code: 'DOOR_SHUT',
      message: 'The chain ip filter INPUT of ufw drops what guests of br0 send: the helper is not root’s.',
      hint: 'Let it through yourself: ufw allow in on br0',
      subject: 'br0',
    },
  });
  const one = (name: string, tap: number, part: Partial<GuestRow>): GuestRow => {
    const guest = guestRow('states', name, [nicState(0, 'br0', `tap${tap}`, `192.168.57.${tap + 2}`)], part);
    if (guest.pid !== null) return guest;
    return { ...guest, nics: guest.nics.map((nic) => ({ ...nic, tap: null, fd: null, leased: false })) };
  };
  return complete(
    {
      host: hostRow(),
      labs: [
        labRow('states', {
          scope: 'host',
          uplink: {
            provider: 'none',
            device: null,
            hostDevice: null,
            addresses: [],
            gateway: null,
            ipv6: null,
            reason: {
              code: 'NO_DEFAULT_ROUTE',
              message: 'This computer has no default route, so guests cannot leave it.',
              hint: 'Connect this computer; the uplink follows by itself.',
            },
          },
        }),
      ],
      networks: [
        withDoors(networkRow('states', 'br0', '192.168.57.0/24')),
        {
          ...networkRow('states', 'br1', '10.10.0.0/24'),
          observed: null,
          reason: {
            code: 'NAME_TAKEN',
            message: 'An interface br1 exists that Tapyard did not make.',
            hint: 'Rename the network in the lab file, or remove that interface.',
          },
        },
      ],
      guests: [
        one('running', 0, {}),
        one('paused', 1, { state: 'paused' }),
        one('starting', 2, { state: 'starting' }),
        one('off', 3, { state: 'shut off', pid: null }),
        one('crashed', 4, { state: 'crashed', stateReason: 'killed by signal 9', pid: null }),
        one('failing', 5, {
          state: 'shut off',
          pid: null,
          error: {
            code: 'IMAGE_MISSING',
            message: 'The image /home/ada/images/debian-12.qcow2 does not exist.',
            hint: 'Correct image of the guest in the lab file.',
          },
        }),
      ],
    },
    [linkRow('states', 'vethf3a2c41', { kind: 'veth', master: 'br0' })],
  );
}

/** Names as long as they may be: 63 characters for a guest, 15 for a network. */
export function longNamesLab(): LabRows {
  const lab = 'a-laboratory-with-a-long-name-01';
  const network = 'department-42-x';
  return complete({
    host: hostRow(),
    labs: [
      labRow(lab, {
        uplink: {
          provider: 'pasta',
          device: 'up0',
          hostDevice: 'enx00e04c680afe',
          addresses: ['192.168.178.123/24', '2001:db8:85a3:8d3:1319:8a2e:370:7348/64'],
          gateway: '192.168.178.1',
          reason: null,
          ipv6: null,
        },
      }),
    ],
    networks: [networkRow(lab, network, '192.168.157.0/24')],
    guests: Array.from({ length: 3 }, (_, at) =>
      guestRow(
        lab,
        `continuous-integration-runner-for-the-documentation-site-node-0${at}`,
        [nicState(0, network, `tap-docs-run-0${at}`, `192.168.157.10${at}`)],
        { imageLabel: 'debian-12-generic-amd64-with-all-build-tools.qcow2' },
      ),
    ),
  });
}

/** A network of each mode, in the host scope. */
export function modesLab(): LabRows {
  const nat = networkRow('modes', 'br0', '192.168.57.0/24');
  const routed = networkRow('modes', 'br1', '10.0.4.64/28', { mode: 'routed' });
  const isolated = networkRow('modes', 'br2', '10.73.5.0/24', { mode: 'isolated' });
  const bridged = networkRow('modes', 'br3', '', { mode: 'bridged', dns: false });
  return complete({
    host: hostRow(),
    labs: [labRow('modes', { scope: 'host' })],
    networks: [
      nat,
      {
        ...routed,
        observed: routed.observed && {
          ...routed.observed,
          addresses: ['10.0.4.65/28'],
          proxyArp: { device: 'wlp3s0', addresses: 1 },
        },
      },
      isolated,
      {
        ...bridged,
        definition: { mode: 'bridged', interface: 'eth1' },
        wanted: bridged.wanted && { ...bridged.wanted, subnet: null, address: null, interface: 'eth1' },
        observed: bridged.observed && { ...bridged.observed, addresses: [] },
      },
    ],
    guests: [
      guestRow('modes', 'web', [nicState(0, 'br0', 'tap0', '192.168.57.2')]),
      guestRow('modes', 'phone', [nicState(0, 'br1', 'tap1', '10.0.4.66')]),
      guestRow('modes', 'vault', [nicState(0, 'br2', 'tap2', '10.73.5.2')]),
      guestRow('modes', 'probe', [nicState(0, 'br3', 'tap3', null)]),
    ],
  });
}

/** A lab of any size: guests spread over its networks, every `second`th with a NIC on the next network too. */
export function bigLab(guestCount: number, networkCount: number, second: number): LabRows {
  const lab = 'big';
  let tap = 0;
  const networks = Array.from({ length: networkCount }, (_, at) =>
    networkRow(lab, `br${at}`, `10.${Math.floor(at / 250)}.${at % 250}.0/24`, { nat: at % 3 !== 2 }),
  );
  const guests = Array.from({ length: guestCount }, (_, at) => {
    const home = Math.floor((at * networkCount) / guestCount);
    const number = (at % 240) + 2;
    const nics = [nicState(0, `br${home}`, `tap${tap++}`, `10.0.${home}.${number}`)];
    const nicCount =
      second > 0 && networkCount > 1 ? Math.floor((at + 1) * second) - Math.floor(at * second) : 0;
    for (let nic = 1; nic <= nicCount; nic++) {
      nics.push(
        nicState(
          nic,
          `br${(home + nic) % networkCount}`,
          `tap${tap++}`,
          `10.0.${(home + nic) % networkCount}.${number}`,
        ),
      );
    }
    const off = at % 17 === 11;
    const guest = guestRow(lab, `node-${String(at + 1).padStart(3, '0')}`, nics, {
      pid: 40_000 + at,
      ...(at % 23 === 7 ? { state: 'paused' as const } : {}),
    });
    if (!off) return guest;
    return {
      ...guest,
      state: 'shut off' as const,
      pid: null,
      nics: guest.nics.map((nic) => ({ ...nic, tap: null, fd: null, leased: false })),
    };
  });
  return complete({ host: hostRow(), labs: [labRow(lab)], networks, guests });
}

/** 40 guests on two networks. */
export const fortyLab = (): LabRows => bigLab(40, 2, 0.1);

/** 500 nodes (uplink, 12 NATs, 12 bridges, 475 guests) and 800 cables (24 of layer 3, 776 NICs). */
export const hugeLab = (): LabRows => bigLab(475, 12, 301 / 475);
