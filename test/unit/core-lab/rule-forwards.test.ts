// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest';
import { TapyardError } from '../../../electron/contract/error.ts';
import type { WantedForward } from '../../../electron/core/forward/forward-set.ts';
import { type Exposer, RuleSet } from '../../../electron/core/forward/rule-set.ts';
import { Forwards } from '../../../electron/core/forward/forwards.ts';
import { refuseUdp, udpRefusal, wayOf } from '../../../electron/core/forward/way.ts';
import type { NetdExposure, NetdNetwork } from '../../../electron/core/net/netd-protocol.ts';
import type { Picture } from '../../../electron/core/net/picture.ts';

const forward: WantedForward = {
  guest: 'guest',
  address: '0.0.0.0',
  port: 8080,
  protocol: 'tcp',
  to: 80,
  target: '192.168.57.2',
  mode: 'nat',
};
const exposure: NetdExposure = {
  address: '0.0.0.0',
  protocol: 'tcp',
  port: 8080,
  to: '192.168.57.2',
  to_port: 80,
};
const uplink: Picture['uplink'] = {
  provider: 'kernel',
  device: 'eth0',
  host_device: 'eth0',
  addresses: ['203.0.113.2/24', '2001:db8::2/64'],
  gateway: '203.0.113.1',
  forwarding: true,
  pid: null,
  reason: null,
};
const network: NetdNetwork = {
  lab: 'seed',
  name: 'br0',
  bridge: 2,
  mode: 'nat',
  subnet: '192.168.57.0/24',
  address: '192.168.57.1',
  mac: '52:54:00:00:00:01',
  mtu: 1500,
  nat: true,
  filter: true,
  antispoof: true,
  forwarding: true,
  doors: [],
  exposed: [],
  dns: null,
  leases: [],
};

test.each([
  ['host', '0.0.0.0', 'nat', 'rule'],
  ['host', '0.0.0.0', 'routed', 'rule'],
  ['host', '0.0.0.0', 'isolated', 'process'],
  ['host', '0.0.0.0', 'bridged', 'process'],
  ['host', '203.0.113.2', 'nat', 'rule'],
  ['host', '198.51.100.7', 'nat', 'process'],
  ['host', '127.0.0.1', 'nat', 'process'],
  ['private', '0.0.0.0', 'nat', 'process'],
] as const)(
  'in the %s scope a forward of %s into a network of mode %s is a %s',
  (scope, address, mode, way) => {
    expect(wayOf({ address, mode }, { scope, picture: { uplink } })).toBe(way);
  },
);

test.each([
  ['host', '0.0.0.0', 'nat', undefined],
  ['host', '203.0.113.2', 'routed', undefined],
  ['host', '127.0.0.1', 'nat', 'only this computer’s programs reach that address.'],
  ['host', '198.51.100.7', 'nat', '198.51.100.7 is no address of the uplink’s.'],
  ['host', '0.0.0.0', 'isolated', 'nothing is let into a network of mode isolated.'],
  ['private', '0.0.0.0', 'nat', 'the private scope has no address of this computer’s.'],
] as const)('in the %s scope UDP of %s into a network of mode %s: %s', (scope, address, mode, why) => {
  const around = { scope, picture: { uplink } };
  const tcp = { ...forward, address, mode };
  expect(udpRefusal(tcp, around)).toBeUndefined();
  const refused = udpRefusal({ ...tcp, protocol: 'udp' }, around);
  if (why === undefined) expect(refused).toBeUndefined();
  else
    expect(refused?.toData()).toEqual({
      code: 'UDP_NEEDS_RULE',
      message: `${address}:8080/udp cannot lead to guest: there is no rule for it: ${why}`,
      hint: 'Forward it from the network, in the host scope (tapyard scope host): tapyard forward guest 8080 --udp --address 0.0.0.0',
      subject: `${address}:8080/udp`,
    });
});

describe('the rules of a lab', () => {
  const sameAt = (one: NetdExposure, other: NetdExposure): boolean =>
    one.port === other.port && one.protocol === other.protocol;

  /** A netd with one network. */
  class Fake implements Exposer {
    exposed: NetdExposure[] = [];
    nat = true;
    asked = 0;
    refuses = false;
    get picture(): Picture {
      const exposed = this.exposed.map((each) => ({ exposure: each, at: ['203.0.113.2'] }));
      const others = { ...network, lab: 'other', exposed: [{ exposure: { ...exposure, port: 1 }, at: [] }] };
      return {
        links: new Map(),
        networks: new Map([
          ['seed/br0', { ...network, nat: this.nat, exposed }],
          ['other/br0', others],
        ]),
        uplink,
      };
    }
    async expose(wanted: NetdExposure): Promise<void> {
      this.asked += 1;
      if (this.refuses) throw new TapyardError('PORT_TAKEN', 'taken', {});
      this.exposed = [...this.exposed.filter((each) => !sameAt(each, wanted)), wanted];
      await Promise.resolve();
    }
    async unexpose(gone: NetdExposure): Promise<void> {
      this.exposed = this.exposed.filter((each) => !sameAt(each, gone));
      await Promise.resolve();
    }
  }

  async function settle(rules: RuleSet, wanted: readonly WantedForward[], netd: Fake): Promise<void> {
    await rules.withdraw(wanted, netd);
    await rules.make(netd);
  }

  test('one of UDP beside one of TCP; where it cannot be, nothing is made and the row says why', async () => {
    const netd = new Fake();
    const forwards = new Forwards('seed', () => undefined);
    const [lan, loopback] = ['0.0.0.0', '127.0.0.1'].map((address) => ({
      ...forward,
      address,
      protocol: 'udp' as const,
    }));
    if (!lan || !loopback) throw new Error('no forwards');
    const maker = { scope: 'host', netdSocket: '/nowhere/netd.sock' } as const;
    const engine = Object.assign(netd, maker);
    await forwards.settle([forward, lan, loopback], engine);
    expect(netd.exposed).toEqual([exposure, { ...exposure, protocol: 'udp' }]);
    expect(forwards.rows()).toMatchObject([
      { id: 'seed/guest/0.0.0.0:8080', state: 'listening' },
      { id: 'seed/guest/0.0.0.0:8080/udp', state: 'listening' },
      { id: 'seed/guest/127.0.0.1:8080/udp', state: 'failed', at: [], error: { code: 'UDP_NEEDS_RULE' } },
    ]);
    expect(() => refuseUdp(loopback, engine)).toThrow(/no rule for it/);
    await forwards.release();
  });

  test('are made once, led elsewhere, and taken away', async () => {
    const netd = new Fake();
    const rules = new RuleSet('seed', () => undefined);
    await settle(rules, [forward], netd);
    await settle(rules, [forward], netd);
    expect([netd.exposed, netd.asked]).toEqual([[exposure], 1]);
    expect(rules.rows(netd.picture)).toMatchObject([
      { id: 'seed/guest/0.0.0.0:8080', way: 'rule', state: 'listening', at: ['203.0.113.2'], flows: null },
    ]);
    netd.nat = false;
    expect(rules.rows(netd.picture)).toMatchObject([{ state: 'blocked' }]);
    await settle(rules, [{ ...forward, target: '192.168.57.3' }], netd);
    expect(netd.exposed).toEqual([{ ...exposure, to: '192.168.57.3' }]);
    await settle(rules, [{ ...forward, target: null }], netd);
    expect(netd.exposed).toEqual([]);
    expect(rules.rows(netd.picture)).toMatchObject([{ state: 'waiting', at: [] }]);
    await settle(rules, [], netd);
    expect(rules.rows(netd.picture)).toEqual([]);
  });

  test('that are refused say why, and are tried again later or when they are others', async () => {
    const netd = new Fake();
    netd.refuses = true;
    let changes = 0;
    const rules = new RuleSet('seed', () => (changes += 1));
    await settle(rules, [forward], netd);
    await settle(rules, [forward], netd);
    expect([netd.asked, changes]).toEqual([1, 1]);
    expect(rules.rows(netd.picture)).toMatchObject([{ state: 'failed', error: { code: 'PORT_TAKEN' } }]);
    netd.refuses = false;
    await settle(rules, [{ ...forward, to: 81 }], netd);
    expect(rules.rows(netd.picture)).toMatchObject([{ state: 'listening', to: 81, error: null }]);
    rules.release();
  });
});
