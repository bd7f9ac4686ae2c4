// SPDX-License-Identifier: Apache-2.0
import { expect, it } from 'vitest';
import type { GuestSpec, GuestStatus } from '../../../electron/core/guest/spec.ts';
import { guestRow } from '../../../electron/core/lab/rows.ts';

const spec: GuestSpec = {
  lab: 'seed',
  name: 'web',
  image: { kind: 'file', path: '/web.qcow2', label: 'web.qcow2' },
  memory: 2 ** 28,
  cpus: 1,
  nics: [],
  netdSocket: '/netd.sock',
};

/** QEMU has a NIC that the file does not have. */
const status: GuestStatus = {
  state: 'running',
  reason: null,
  since: 0,
  pid: 4711,
  accelerator: 'tcg',
  taps: [{ nic: 0, network: 'br0', mac: '52:54:00:00:00:01', tap: 'tap0', ifindex: 3, fd: 10, steps: [] }],
  cut: [],
  sockets: { serial: '', vnc: '', qmp: '', plug: '' },
  serialRecord: '',
  error: null,
  argv: null,
  startMs: null,
};

it('tells of a NIC that left the file, but not of one that is being plugged or unplugged', () => {
  const left = { network: 'br0', mac: '52:54:00:00:00:01', tap: 'tap0' };
  expect(guestRow(spec, status, undefined, null, false).leftNics).toEqual([left]);
  expect(guestRow(spec, status, undefined, null, true).leftNics).toEqual([]);
});
