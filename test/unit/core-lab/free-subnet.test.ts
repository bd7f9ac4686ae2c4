// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { readLabFile } from '../../../electron/core/lab/definition.ts';
import { stillFree } from '../../../electron/core/lab/kept-subnets.ts';
import { chooseSubnets, resolveLab } from '../../../electron/core/lab/resolve.ts';
import { freeSubnet, overlapping, type UsedSubnet } from '../../../electron/core/net/free-subnet.ts';
import { subnetOf } from '../../../electron/core/net/ipv4.ts';
import { nameServerSubnets, routedSubnets } from '../../../electron/core/net/used-subnets.ts';

const used = (...cidrs: string[]): UsedSubnet[] =>
  cidrs.map((cidr) => ({ subnet: subnetOf(cidr), by: `owner of ${cidr}` }));

describe('a free subnet', () => {
  it('is the same for the same names, and another for others', () => {
    const first = freeSubnet(['seed', 'br0'], []);
    expect(first).toMatch(/^10\.\d+\.\d+\.0\/24$/);
    expect(freeSubnet(['seed', 'br0'], [])).toBe(first);
    expect(freeSubnet(['seed', 'br1'], [])).not.toBe(first);
  });

  it('is the next one where the first is taken, by anything that overlaps it', () => {
    const first = freeSubnet(['seed', 'br0'], []);
    const [a = 0, b = 0, c = 0] = first.split(/[./]/).map(Number);
    for (const taken of [first, `${a}.${b}.${c}.128/25`]) {
      const next = freeSubnet(['seed', 'br0'], used(taken));
      expect(next).toBe(`10.${b}.${c + 1}.0/24`);
    }
    const beyond = freeSubnet(['seed', 'br0'], used(`10.${b}.0.0/16`));
    expect(overlapping(beyond, used(`10.${b}.0.0/16`))).toBeUndefined();
  });

  it('leaves a space that a VPN routes as a whole, and never takes libvirt’s', () => {
    expect(freeSubnet(['seed', 'br0'], used('10.0.0.0/8'))).toMatch(/^172\.(1[6-9]|2\d|3[01])\./);
    const narrow = used('10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/18', '192.168.128.0/17');
    for (const name of ['a', 'b', 'c', 'd'])
      expect(freeSubnet([name], [...narrow, ...used('192.168.64.0/19', '192.168.96.0/20')])).toMatch(
        /^192\.168\.(11[2-9]|12[013-7])\.0\/24$/,
      );
  });

  it('is told from this computer’s routes, without the default one', () => {
    const head = 'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n';
    const rows = [
      'eth0\t00000000\t017100CB\t0003\t0\t0\t0\t00000000\t0\t0\t0',
      'docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0',
      'tun0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0',
      'tun0\t00000080\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0', // half of everything
      'rubbish',
    ];
    expect(routedSubnets(head + rows.join('\n'))).toEqual([
      { subnet: subnetOf('172.17.0.0/16'), by: 'docker0' },
      { subnet: subnetOf('10.0.0.0/8'), by: 'tun0' },
    ]);
  });

  it('leaves out where this computer’s name servers are, which may lie beyond its way out', () => {
    const first = freeSubnet(['seed', 'br0'], []);
    const server = first.replace('.0/24', '.53');
    const servers = nameServerSubnets(`nameserver ::1\nnameserver ${server}\nnameserver fe80::1%eth0\n`);
    expect(servers).toEqual([{ subnet: subnetOf(`${server}/32`), by: 'a name server in /etc/resolv.conf' }]);
    expect(freeSubnet(['seed', 'br0'], servers)).not.toBe(first);
  });
});

describe('a lab whose file leaves subnets open', () => {
  const { definition } = readLabFile(
    new TextEncoder().encode(
      'name: x\nnetworks: { a: {}, b: { subnet: auto, mode: isolated }, c: { subnet: 10.0.0.0/8 } }\n',
    ),
  );
  if (!definition) throw new Error('no definition');

  it('gets one for each, beside those of the file', () => {
    const chosen = chooseSubnets(definition, new Map(), []);
    expect([...chosen.keys()]).toEqual(['a', 'b']);
    expect(overlapping(chosen.get('a') ?? '', used('10.0.0.0/8', chosen.get('b') ?? ''))).toBeUndefined();
    const [a] = resolveLab(definition, chosen).networks;
    expect(a?.address).toBe(chosen.get('a')?.replace('0/24', '1'));
  });

  it('keeps what it has, until somebody else has it', () => {
    const kept = new Map([['a', '192.168.99.0/24']]);
    expect(chooseSubnets(definition, kept, used('192.168.0.0/16')).get('a')).toBe('192.168.99.0/24');
    expect(stillFree(kept, used('192.168.98.0/24'))).toEqual(kept);
    expect(stillFree(kept, used('192.168.0.0/16')).size).toBe(0);
  });
});
