// SPDX-License-Identifier: Apache-2.0
import type { Row } from '../../../renderer/store/tables.ts';

/** A lab that is up, for tests; `part` replaces what matters. */
export const lab = (part: Partial<Row<'labs'>> = {}): Row<'labs'> => ({
  id: 'seed',
  name: 'seed',
  file: '/home/ada/seed.yaml',
  fileHash: 'abc',
  problems: [],
  scope: 'private',
  state: 'up',
  error: null,
  uplink: null,
  ...part,
});

/** A running guest of {@link lab}. */
export const guest = (part: Partial<Row<'guests'>> = {}): Row<'guests'> => ({
  id: 'seed/web',
  lab: 'seed',
  name: 'web',
  state: 'running',
  stateReason: null,
  since: 0,
  pid: 4711,
  accelerator: 'tcg',
  image: 'micro',
  imageLabel: 'Micro guest',
  memory: 268_435_456,
  cpus: 1,
  nics: [
    {
      index: 0,
      network: 'br0',
      mac: '52:54:00:a1:3f:02',
      tap: 'tap0',
      wantedTap: 'tap0',
      fd: 10,
      address: '192.168.57.2',
      addressSource: 'reserved',
      leased: true,
      plugged: true,
      shape: {},
      wantedShape: {},
    },
  ],
  leftNics: [],
  sockets: { serial: '/s', vnc: '/v', qmp: '/q' },
  serialRecord: '/l',
  wanted: true,
  error: null,
  ...part,
});

/** A network of {@link lab} as the kernel holds it. */
export const network = (part: Partial<Row<'networks'>> = {}): Row<'networks'> => ({
  id: 'seed/br0',
  lab: 'seed',
  name: 'br0',
  definition: { subnet: '192.168.57.0/24', mode: 'nat' },
  wanted: {
    subnet: '192.168.57.0/24',
    address: '192.168.57.1',
    ipv6: null,
    mode: 'nat',
    uplink: null,
    interface: null,
    nat: true,
    antispoof: true,
    mtu: 1500,
  },
  observed: {
    ifindex: 2,
    addresses: ['192.168.57.1/24'],
    mac: '52:54:00:00:00:01',
    mtu: 1500,
    up: true,
    mode: 'nat',
    nat: true,
    antispoof: true,
    forwarding: true,
    proxyArp: null,
    doors: [],
    dns: { pid: 12, from: '192.168.57.128', to: '192.168.57.254' },
    hostNames: null,
    ports: 1,
  },
  reason: null,
  ...part,
});

/** A step of the recipe that the kernel holds. */
export const step = (part: Partial<Row<'steps'>> = {}): Row<'steps'> => ({
  id: 'seed/0',
  lab: 'seed',
  order: 0,
  title: 'bridge br0',
  command: 'ip link add br0 type bridge',
  network: 'seed/br0',
  guest: null,
  state: 'done',
  ms: 0.3,
  holds: true,
  by: null,
  error: null,
  ...part,
});

/** A job on {@link lab} that runs. */
export const job = (part: Partial<Row<'jobs'>> = {}): Row<'jobs'> => ({
  id: 'job-1',
  lab: 'seed',
  name: 'lab.up',
  state: 'running',
  doing: 'bridge br0',
  asks: null,
  done: 1,
  total: 4,
  startedAt: 1,
  check: null,
  endedAt: null,
  error: null,
  ...part,
});

/** Rows as a table. */
export const byId = <R extends { readonly id: string }>(...rows: R[]): ReadonlyMap<string, R> =>
  new Map(rows.map((row) => [row.id, row]));
