// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { runChecks } from '../../../electron/core/check/checks.ts';
import { fixOf } from '../../../electron/core/check/kvm.ts';
import { groupsInRange } from '../../../electron/core/check/ping.ts';
import { nameServers } from '../../../electron/core/net/name-servers.ts';
import { strayOf } from '../../../electron/core/lab/strays.ts';
import { defaultDevice } from '../../../electron/core/net/default-route.ts';
import {
  contains,
  formatIpv4,
  formatSubnet,
  ipv4,
  isHostAddress,
  overlap,
  subnetOf,
} from '../../../electron/core/net/ipv4.ts';
import { rateOf, RateMeter } from '../../../electron/core/net/rates.ts';

it('computes with addresses at both ends of the space', () => {
  for (const text of ['0.0.0.0', '10.0.0.1', '192.168.57.2', '255.255.255.255'])
    expect(formatIpv4(ipv4(text))).toBe(text);
  const subnet = subnetOf('192.168.57.77/24');
  expect(formatSubnet(subnet)).toBe('192.168.57.0/24');
  expect([contains(subnet, ipv4('192.168.57.255')), contains(subnet, ipv4('192.168.58.0'))]).toEqual([
    true,
    false,
  ]);
  expect(
    ['192.168.57.0', '192.168.57.1', '192.168.57.254', '192.168.57.255'].map((a) =>
      isHostAddress(subnet, ipv4(a)),
    ),
  ).toEqual([false, true, true, false]);
  expect(overlap(subnet, subnetOf('192.168.0.0/16'))).toBe(true);
  expect(overlap(subnet, subnetOf('192.168.58.0/24'))).toBe(false);
  expect(subnetOf('255.255.255.255/30').broadcast).toBe(2 ** 32 - 1);
});

it('finds the interface of the default route', () => {
  const head = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n';
  const row = (device: string, destination: string, flags: string, metric: number, mask: string): string =>
    `${device}\t${destination}\t0100A8C0\t${flags}\t0\t0\t${metric}\t${mask}\t0\t0\t0\n`;
  expect(defaultDevice(head)).toBeNull();
  expect(
    defaultDevice(
      head +
        row('wlan0', '00000000', '0003', 600, '00000000') +
        row('vpn0', '00000000', '0001', 50, '00000080') +
        row('eth0', '00000000', '0003', 100, '00000000') +
        row('down0', '00000000', '0002', 1, '00000000'),
    ),
  ).toBe('eth0');
});

describe('rates', () => {
  const counters = (ifindex: number, rx_bytes: number, tx_bytes: number): Parameters<typeof rateOf>[0] => ({
    ifindex,
    rx_bytes,
    tx_bytes,
    rx_packets: 0,
    tx_packets: 0,
    rx_dropped: 0,
    tx_dropped: 0,
  });

  it('are seen from the guests: what a tap receives they send, what the uplink receives goes to them', () => {
    expect(rateOf(counters(1, 0, 0), counters(1, 125, 250), 0.5, false)).toEqual({ up: 2000, down: 4000 });
    expect(rateOf(counters(1, 0, 0), counters(1, 125, 250), 0.5, true)).toEqual({ down: 2000, up: 4000 });
    expect(rateOf(counters(1, 500, 500), counters(1, 0, 500), 1, false)).toEqual({ up: 0, down: 0 });
  });

  it('begin with the second count', () => {
    const meter = new RateMeter();
    expect(meter.measure([counters(1, 0, 0)], 1000, 2).size).toBe(0);
    expect(meter.measure([counters(1, 1000, 0), counters(2, 5, 5)], 2000, 2)).toEqual(
      new Map([[1, { up: 8000, down: 0 }]]),
    );
    expect(meter.measure([counters(2, 1005, 5)], 3000, 2)).toEqual(new Map([[2, { up: 0, down: 8000 }]]));
    expect(meter.measure([counters(2, 9005, 5)], 9000, 2).size).toBe(0);
  });
});

it('knows a guest that left the file by its QEMU', () => {
  const argv = ['qemu', '-name', 'guest=seed/web,process=ty:web', '-m', '512M', '-smp', 'cpus=2'];
  expect(
    strayOf('seed', argv, [{ nic: 2, network: 'br0', mac: '52:54:00:00:00:07', tap: 'tap3' }]),
  ).toMatchObject({
    name: 'web',
    memory: 2 ** 29,
    cpus: 2,
    nics: [{ index: 0, network: 'br0', mac: '52:54:00:00:00:07', tap: 'tap3' }],
  });
  expect(strayOf('other', argv, [])).toBeUndefined();
  expect(strayOf('seed', ['qemu'], [])).toBeUndefined();
});

describe('checks', () => {
  it('has a fix for guests without KVM that fits the reason', () => {
    expect(fixOf('TAPYARD_ACCEL says so').command).toBe('unset TAPYARD_ACCEL');
    expect(fixOf('no permission on /dev/kvm: add yourself').command).toContain('usermod');
    expect(fixOf('KVM is present but does not run guests here; using TCG').command).toContain('dmesg');
    expect(fixOf('there is no /dev/kvm (no hardware virtualization)').command).toContain('cpuinfo');
  });

  it('know whose pings the kernel allows', () => {
    expect(groupsInRange('1\t0', [0, 1, 1000])).toBe(false);
    expect(groupsInRange('0\t2147483647', [1000])).toBe(true);
    expect(groupsInRange('100 200', [1000, 150])).toBe(true);
    expect(groupsInRange('', [0])).toBe(false);
  });

  it('read name servers', () => {
    expect(
      nameServers('# nameserver 9.9.9.9\nnameserver 127.0.0.53\n  nameserver fe80::1%eth0 \noptions x\n'),
    ).toEqual(['127.0.0.53', 'fe80::1%eth0']);
  });

  it('never throw, and say of each what was found', async () => {
    const results = await runChecks();
    expect(new Set(results.map((result) => result.id)).size).toBe(results.length);
    for (const result of results) {
      expect(result.found).not.toBe('');
      expect(result.state === 'ok' || result.fixes.length > 0, result.id).toBe(true);
    }
  }, 30_000);
});
