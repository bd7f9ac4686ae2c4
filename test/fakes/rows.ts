// SPDX-License-Identifier: Apache-2.0
import { listeningText, type NetworkMode } from '../../electron/contract/lab-file.ts';
import type {
  ForwardRow,
  GuestRow,
  HostRow,
  LabRow,
  LinkRow,
  NetworkRow,
  NicState,
} from '../../electron/contract/rows.ts';

/** Everything that a fake core shows of its labs: tables as plain lists. */
export interface LabRows {
  readonly host: HostRow;
  readonly labs: LabRow[];
  readonly networks: NetworkRow[];
  readonly links: LinkRow[];
  readonly guests: GuestRow[];
  readonly forwards: ForwardRow[];
}

/** When the guests of a fake began to run: every screenshot says 12 minutes. */
export const fakeSince = Date.now() - 12 * 60_000;

export const hostRow = (part: Partial<HostRow> = {}): HostRow => ({
  id: 'host',
  hostname: 'thinkpad',
  user: 'ada',
  qemuVersion: '8.2',
  accelerator: { use: 'kvm', why: 'KVM runs guests here' },
  tapyardVersion: '0.1.0',
  ...part,
});

export const labRow = (name: string, part: Partial<LabRow> = {}): LabRow => ({
  id: name,
  name,
  file: `/home/ada/labs/${name}.yaml`,
  fileHash: '0'.repeat(64),
  problems: [],
  scope: 'private',
  state: 'up',
  error: null,
  uplink: {
    provider: 'pasta',
    device: 'up0',
    hostDevice: 'wlp3s0',
    addresses: ['10.0.4.23/24'],
    gateway: '10.0.4.1',
    reason: null,
    ipv6: null,
  },
  ...part,
});

/** The first address of a /24: the bridge's. */
const gateway = (subnet: string): string => subnet.replace(/0\/24$/, '1');

export const networkRow = (
  lab: string,
  name: string,
  subnet: string,
  part: { mode?: NetworkMode; nat?: boolean; ports?: number; dns?: boolean } = {},
): NetworkRow => {
  const { mode = 'nat', nat = mode === 'nat', ports = 0, dns = true } = part;
  return {
    id: `${lab}/${name}`,
    lab,
    name,
    definition: { subnet, mode, ...(mode === 'nat' && !nat ? { nat } : {}) },
    wanted: {
      subnet,
      address: gateway(subnet),
      ipv6: null,
      mode,
      uplink: null,
      interface: null,
      nat,
      antispoof: dns,
      mtu: 1500,
    },
    observed: {
      ifindex: 2,
      addresses: [`${gateway(subnet)}/24`],
      mac: '52:54:00:00:00:01',
      mtu: 1500,
      up: true,
      mode,
      nat,
      antispoof: dns,
      forwarding: mode !== 'isolated',
      proxyArp: null,
      doors: [],
      dns: dns
        ? { pid: 4711, from: subnet.replace(/0\/24$/, '128'), to: subnet.replace(/0\/24$/, '254') }
        : null,
      hostNames: null,
      ports,
    },
    reason: null,
  };
};

export const linkRow = (lab: string, name: string, part: Partial<LinkRow> = {}): LinkRow => ({
  id: `${lab}/${name}`,
  lab,
  ifindex: 3,
  name,
  kind: 'tun',
  master: null,
  up: true,
  carrier: true,
  operstate: 'up',
  mac: 'fe:54:00:a1:3f:02',
  mtu: 1500,
  addresses: [],
  ours: null,
  ...part,
});

export const bridgeLinkRow = (network: NetworkRow): LinkRow =>
  linkRow(network.lab, network.name, {
    kind: 'bridge',
    addresses: network.observed?.addresses ?? [],
    ours: { network: network.name, guest: null, nic: null },
  });

export const nicState = (index: number, network: string, tap: string, address: string | null): NicState => ({
  index,
  network,
  mac: `52:54:00:a1:3f:0${index + 2}`,
  tap,
  wantedTap: tap,
  fd: 30 + index,
  address,
  addressSource: address === null ? null : 'reserved',
  leased: address !== null,
  plugged: true,
  shape: {},
  wantedShape: {},
});

export const guestRow = (
  lab: string,
  name: string,
  nics: NicState[],
  part: Partial<GuestRow> = {},
): GuestRow => ({
  id: `${lab}/${name}`,
  lab,
  name,
  state: 'running',
  stateReason: null,
  since: fakeSince,
  pid: 31996,
  accelerator: 'kvm',
  image: 'debian-12',
  imageLabel: 'Debian 12',
  memory: 512 * 1024 * 1024,
  cpus: 1,
  nics,
  leftNics: [],
  sockets: {
    serial: `/run/user/1000/tapyard/${lab}/${name}/serial.in`,
    vnc: `/run/user/1000/tapyard/${lab}/${name}/vnc`,
    qmp: `/run/user/1000/tapyard/${lab}/${name}/qmp`,
  },
  serialRecord: `/home/me/.local/state/tapyard/labs/${lab}/${name}/serial.log`,
  wanted: true,
  error: null,
  ...part,
});

export const forwardRow = (
  guest: GuestRow,
  port: number,
  to: number,
  part: Partial<ForwardRow> = {},
): ForwardRow => {
  const { address = '127.0.0.1', protocol = 'tcp' } = part;
  return {
    id: `${guest.id}/${listeningText({ address, port, protocol })}`,
    lab: guest.lab,
    guest: guest.name,
    address,
    port,
    protocol,
    to,
    state: 'listening',
    target: guest.nics[0]?.address ?? null,
    way: 'process',
    at: [address === '0.0.0.0' ? '127.0.0.1' : address],
    flows: 0,
    pid: 32_100,
    error: null,
    ...part,
  };
};

/** The taps that a guest's NICs hold, as rows of `links`. */
export const tapLinks = (guest: GuestRow): LinkRow[] =>
  guest.nics.flatMap((nic) =>
    nic.tap === null
      ? []
      : [
          linkRow(guest.lab, nic.tap, {
            master: nic.network,
            ours: { network: nic.network, guest: guest.name, nic: nic.index },
          }),
        ],
  );
