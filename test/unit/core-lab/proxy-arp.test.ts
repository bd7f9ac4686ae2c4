// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import type { ErrorData } from '../../../electron/contract/error.ts';
import { readLabFile } from '../../../electron/core/lab/definition.ts';
import { planUp } from '../../../electron/core/lab/plan.ts';
import { resolveLab } from '../../../electron/core/lab/resolve.ts';
import type { NetdNetwork } from '../../../electron/core/net/netd-protocol.ts';
import { networkRows, pictureOf, type Picture } from '../../../electron/core/net/picture.ts';

const text = 'name: seed\nnetworks: { lan: { subnet: 192.168.1.192/28, mode: routed, proxyArp: true } }\n';
const { definition } = readLabFile(new TextEncoder().encode(text));
if (!definition) throw new Error('no lab');
const lab = resolveLab(definition);

/** The network as it is wanted, on a LAN that has these addresses, with what netd says of proxy ARP. */
function pictured(addresses: string[], proxy: NetdNetwork['proxy_arp']): Picture {
  const network = {
    lab: 'seed',
    name: 'lan',
    bridge: 5,
    mode: 'routed' as const,
    subnet: '192.168.1.192/28',
    address: '192.168.1.193',
    mac: '52:54:00:00:00:01',
    mtu: 1500,
    nat: false,
    filter: true,
    antispoof: true,
    forwarding: true,
    doors: [],
    exposed: [],
    dns: { pid: 7, from: '192.168.1.200', to: '192.168.1.206' },
    leases: [],
    ...(proxy ? { proxy_arp: proxy } : {}),
  };
  const link = { master: null, up: true, carrier: true, operstate: 'up', mtu: 1500, alias: '' };
  const wlan0 = {
    ...link,
    ifindex: 2,
    name: 'wlan0',
    kind: '',
    mac: '02:00:00:00:00:01',
    addresses,
    ours: null,
  };
  const ours = { lab: 'seed', network: 'lan' };
  const own = { addresses: ['192.168.1.193/28'], ours };
  const bridge = { ...link, ifindex: 5, name: 'lan', kind: 'bridge', mac: network.mac, ...own };
  return pictureOf({
    scope: 'host',
    lab: null,
    links: [wlan0, bridge],
    networks: [network],
    uplink: {
      provider: 'kernel',
      device: 'wlan0',
      host_device: 'wlan0',
      addresses,
      gateway: '192.168.1.1',
      forwarding: true,
      pid: null,
      reason: null,
    },
  });
}

const reason = (picture: Picture): ErrorData | null | undefined =>
  networkRows('seed', lab.networks, {}, picture, new Map())[0]?.reason;
const steps = (picture: Picture): string[] => {
  const applied = new Map(lab.networks.map((network) => [network.name, network]));
  return planUp(lab, { picture, guests: new Map(), applied }).map(({ kind }) => kind);
};

describe('a network with proxy ARP', () => {
  const answered = { device: 'wlan0', addresses: 7, reason: null };

  it('is a part of the LAN’s subnet, which is no overlap, and of nothing else', () => {
    const right = pictured(['192.168.1.50/24'], answered);
    expect(reason(right)).toBeNull();
    expect(steps(right)).toEqual([]);
    expect(reason(pictured(['192.168.1.200/30'], answered))).toMatchObject({ code: 'SUBNET_OVERLAP' });
  });

  it('says why the LAN gets no answer, and asks again when the lab is brought up', () => {
    const why = { code: 'ADDRESS_TAKEN' as const, message: '02:00:00:00:00:09 has 192.168.1.203 on wlan0' };
    const picture = pictured(['192.168.1.50/24'], { device: null, addresses: 0, reason: why });
    expect(reason(picture)).toEqual({
      code: 'ADDRESS_TAKEN',
      message: `The LAN does not reach the guests of lan: ${why.message}`,
      hint: 'Bring the lab up again to mend it: tapyard up.',
      subject: 'seed/lan',
    });
    expect(steps(picture)).toEqual(['apply']);
    // One that an older helper made without it.
    expect(steps(pictured(['192.168.1.50/24'], undefined))).toEqual(['apply']);
  });
});
