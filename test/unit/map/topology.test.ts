// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { deriveTopology } from '../../../renderer/features/map/topology.ts';
import { hugeLab, lower, mockLab, seedLab, statesLab } from '../../fakes/labs.ts';
import type { LabRows } from '../../fakes/rows.ts';
import { linkRow, networkRow } from '../../fakes/rows.ts';
import { tablesOf, topologyOf } from './tables.ts';

const patchLab = (rows: LabRows, part: Partial<LabRows['labs'][number]>): LabRows => ({
  ...rows,
  labs: rows.labs.map((lab) => ({ ...lab, ...part })),
});

describe('deriveTopology', () => {
  it('draws the tutorial as uplink – NAT – br0 – tap0 – guest', () => {
    const topology = topologyOf(seedLab());
    expect(topology.uplink).toMatchObject({ device: 'wlp3s0', through: 'through pasta', ghost: null });
    expect(topology.nats).toMatchObject([
      { on: true, sentence: 'Guests of br0 reach the internet', flows: 'seed' },
    ]);
    expect(topology.bridges).toMatchObject([
      { name: 'br0', addresses: ['192.168.57.1/24'], services: 'DHCP, DNS', portCount: '1 port' },
    ]);
    expect(topology.bridges[0]?.ports.map((port) => port.name)).toEqual(['tap0']);
    expect(topology.guests).toMatchObject([{ name: 'guest', shape: 'running', address: '192.168.57.2' }]);
    expect(
      topology.cables.map((cable) => [cable.layer, cable.state, cable.from.node, cable.to.node]),
    ).toEqual([
      ['l3', 'up', 'uplink:seed', 'nat:seed/br0'],
      ['l3', 'up', 'nat:seed/br0', 'network:seed/br0'],
      ['l2', 'up', 'network:seed/br0', 'guest:seed/guest'],
    ]);
  });

  it('draws an interface of this computer as a port of the bridge, and no way by the uplink', () => {
    const rows = seedLab();
    const [lan] = rows.networks.map((network) => ({ ...network, name: 'br0' }));
    if (!lan?.wanted || !lan.observed) throw new Error('the tutorial has a network');
    const bridged = { mode: 'bridged', nat: false } as const;
    const network = {
      ...lan,
      wanted: { ...lan.wanted, ...bridged, subnet: null, address: null, interface: 'eth1' },
      observed: { ...lan.observed, ...bridged, addresses: [], dns: null, forwarding: false },
    };
    const eth1 = linkRow('seed', 'eth1', { kind: '', master: 'br0' });
    const topology = topologyOf({ ...rows, networks: [network], links: [...rows.links, eth1] });
    expect(topology.nats).toMatchObject([
      { on: true, sentence: 'Guests of br0 are on the network behind eth1', device: 'eth1', flows: null },
    ]);
    expect(topology.bridges[0]?.ports).toMatchObject([
      { name: 'eth1', note: 'this computer’s interface to the network behind it' },
      { name: 'tap0' },
    ]);
    expect(topology.cables.map(({ from, to, rate }) => [from.node, to.node, rate])).toEqual([
      ['nat:seed/br0', 'network:seed/br0', 'seed/eth1'],
      ['network:seed/br0', 'guest:seed/guest', 'seed/tap0'],
    ]);
  });

  it('leaves link-local addresses off the map', () => {
    const rows = seedLab();
    const local = 'fe80::5054:ff:fe12:3456/64';
    const topology = topologyOf({
      ...rows,
      labs: rows.labs.map((lab) => ({
        ...lab,
        uplink: lab.uplink && { ...lab.uplink, addresses: [local, ...lab.uplink.addresses] },
      })),
      networks: rows.networks.map((network) => ({
        ...network,
        observed: network.observed && {
          ...network.observed,
          addresses: [...network.observed.addresses, local, '2001:db8::1/64'],
        },
      })),
    });
    expect(topology.uplink.addresses).toEqual(['10.0.4.23/24']);
    expect(topology.bridges[0]?.addresses).toEqual(['192.168.57.1/24', '2001:db8::1/64']);
  });

  it('says which cable is cut, and draws no way out of an isolated network', () => {
    const topology = topologyOf(mockLab());
    const router = topology.guests.find((guest) => guest.name === 'router');
    expect(router).toMatchObject({ shape: 'cut', line: 'running · one cable cut' });
    expect(router?.nics.map((nic) => nic.words)).toEqual(['no link', null]);
    const cut = topology.cables.find((cable) => cable.from.port === 'link:seed/tap2');
    expect(cut).toMatchObject({ state: 'cut', rate: null });
    expect(topology.nats[1]).toMatchObject({ on: false, sentence: 'br1 is isolated' });
    expect(topology.cables.some((cable) => cable.to.node === 'nat:seed/br1')).toBe(false);
  });

  it('draws a lab that is down as ghosts with a reason, nothing as there', () => {
    const topology = topologyOf(lower(mockLab()));
    expect(topology.uplink.ghost?.reason).toBe('the lab is down');
    expect(topology.nats.every((nat) => nat.on === null && nat.ghost !== null)).toBe(true);
    expect(topology.bridges.every((bridge) => bridge.ghost?.reason === 'the lab is down')).toBe(true);
    expect(topology.bridges.flatMap((bridge) => bridge.ports).every((port) => port.state === 'ghost')).toBe(
      true,
    );
    expect(
      topology.cables.filter((cable) => cable.layer === 'l2').every((cable) => cable.state === 'ghost'),
    ).toBe(true);
    expect(topology.guests.every((guest) => guest.shape === 'off' && !guest.startable)).toBe(true);
  });

  it('shows ports that are not ours, and why a network or the uplink is missing', () => {
    const topology = topologyOf(statesLab());
    expect(topology.boundary).toBe('this computer · thinkpad');
    expect(topology.uplink.ghost).toEqual({
      reason: 'no default route',
      fix: 'Connect this computer; the uplink follows by itself.',
      expected: false,
    });
    const veth = topology.bridges[0]?.ports.find((port) => port.name === 'vethf3a2c41');
    expect(veth).toMatchObject({ ours: false, state: 'up' });
    expect(topology.bridges[1]?.ghost).toMatchObject({
      reason: 'An interface br1 exists that Tapyard did not make.',
    });
    expect(topology.nats[0]?.sentence).toBe('br0 has no way out');
    expect(topology.guests.map((guest) => guest.shape)).toEqual([
      'running',
      'paused',
      'starting',
      'off',
      'crashed',
      'off',
    ]);
    expect(topology.guests.map((guest) => guest.startable)).toEqual([false, false, false, true, true, true]);
  });

  it('follows the kernel, not the file: a tap on another bridge, or on none', () => {
    const rows = seedLab();
    const moved = { ...rows, networks: [...rows.networks, networkRow('seed', 'br9', '10.9.0.0/24')] };
    const onBr9 = {
      ...moved,
      links: moved.links.map((link) => (link.name === 'tap0' ? { ...link, master: 'br9' } : link)),
    };
    const topology = topologyOf(onBr9);
    expect(topology.bridges.map((bridge) => bridge.ports.map((port) => port.name))).toEqual([[], ['tap0']]);
    expect(topology.cables.find((cable) => cable.layer === 'l2')?.from.node).toBe('network:seed/br9');

    const loose = {
      ...rows,
      links: rows.links.map((link) => (link.name === 'tap0' ? { ...link, master: null } : link)),
    };
    const port = topologyOf(loose).bridges[0]?.ports[0];
    expect(port).toMatchObject({ state: 'ghost', note: 'there, but not a port of br0' });
    const gone = { ...rows, links: rows.links.filter((link) => link.name !== 'tap0') };
    expect(topologyOf(gone).bridges[0]?.ports[0]?.note).toBe(
      'held by guest, but the kernel does not show it',
    );
  });

  it('keeps labs apart', () => {
    const rows = seedLab();
    const other = linkRow('other', 'tap7', { master: 'br0' });
    const topology = topologyOf({ ...rows, links: [...rows.links, other] });
    expect(topology.bridges[0]?.ports.map((port) => port.name)).toEqual(['tap0']);
    expect(deriveTopology(tablesOf(rows), 'nowhere')).toBeNull();
  });

  it('counts flows at the one NAT that is on, else at the uplink, since they are counted by lab', () => {
    const rows = mockLab();
    expect(topologyOf(rows).uplink.flows).toBeNull();
    const both = {
      ...rows,
      networks: rows.networks.map((row) => ({
        ...row,
        observed: row.observed && { ...row.observed, nat: true },
      })),
    };
    const topology = topologyOf(both);
    expect(topology.uplink.flows).toBe('seed');
    expect(topology.nats.map((nat) => nat.flows)).toEqual([null, null]);
  });

  it('tells the reasons of a failed lab', () => {
    const error = { code: 'USERNS_DENIED', message: 'long words', hint: 'Allow them.' };
    const topology = topologyOf(patchLab(lower(seedLab()), { state: 'failed', error }));
    expect(topology.bridges[0]?.ghost).toEqual({
      reason: 'user namespaces are denied',
      fix: 'Allow them.',
      expected: false,
    });
  });

  it('has 500 nodes and 800 cables in the lab of the benchmark, and is quick about it', () => {
    const rows = hugeLab();
    const topology = topologyOf(rows);
    expect(1 + topology.nats.length + topology.bridges.length + topology.guests.length).toBe(500);
    const isolated = topology.nats.filter((nat) => nat.on === false).length;
    expect(topology.cables.length + isolated).toBe(800);
  });
});
