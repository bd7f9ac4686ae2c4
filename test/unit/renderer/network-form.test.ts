// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { NetworkDefinition } from '../../../electron/contract/lab-file.ts';
import {
  checkForm,
  consequences,
  definitionOf,
  formOf,
  newForm,
  withDhcp,
  withSubnet,
  type Around,
  type NetworkForm,
} from '../../../renderer/features/networks/network-form.ts';
import { guest, network } from './rows.ts';

const form: NetworkForm = {
  name: 'br1',
  mode: 'nat',
  via: 'uplink',
  uplink: '',
  interface: '',
  proxyArp: false,
  subnet: '10.9.0.0/24',
  dhcp: 'half',
  from: '',
  to: '',
  mtu: '',
};
const around: Around = {
  scope: 'private',
  edited: null,
  networks: [network()],
  guests: [guest()],
  used: [{ subnet: '10.0.4.0/24', by: 'wlp3s0' }],
};
const editing: Around = { ...around, edited: network() };

describe('the form of a network', () => {
  it('has nothing against a good one, and makes what the lab file takes', () => {
    const good: NetworkForm[] = [
      form,
      { ...form, dhcp: 'off', mtu: '9000', mode: 'isolated' },
      { ...form, dhcp: 'range', from: '10.9.0.5', to: '10.9.0.5' },
    ];
    for (const each of good) {
      expect(checkForm(each, around)).toEqual({});
      expect(NetworkDefinition.safeParse(definitionOf(each, null)).success).toBe(true);
    }
    expect(definitionOf({ ...form, mtu: '1400', dhcp: 'off' }, null)).toEqual({
      subnet: '10.9.0.0/24',
      mode: 'nat',
      mtu: 1400,
      dhcp: false,
    });
    const bridged: NetworkForm = { ...form, mode: 'bridged', uplink: 'br-lan' };
    expect(checkForm(bridged, { ...around, scope: 'host' })).toEqual({});
    expect(definitionOf(bridged, null)).toEqual({ mode: 'bridged', uplink: 'br-lan' });
    const port: NetworkForm = { ...bridged, via: 'interface', interface: 'eth1' };
    expect(checkForm(port, { ...around, scope: 'host' })).toEqual({});
    expect(definitionOf(port, { mode: 'bridged', uplink: 'br-lan' })).toEqual({
      mode: 'bridged',
      interface: 'eth1',
    });
    const free = { mode: 'bridged', uplink: 'br0', antispoof: false } as const;
    expect(definitionOf(bridged, free)).toEqual({ ...free, uplink: 'br-lan' });
  });

  it.each<[Partial<NetworkForm>, keyof NetworkForm, string]>([
    [{ name: '' }, 'name', 'a name is needed'],
    [{ name: 'br0' }, 'name', 'there is a network br0 already'],
    [{ name: 'a'.repeat(16) }, 'name', 'at most 15'],
    [{ name: 'all' }, 'name', 'the kernel keeps this name'],
    [{ mode: 'routed' }, 'mode', 'a routed network needs the host scope'],
    [{ mode: 'bridged', uplink: 'br-lan' }, 'mode', 'a bridged network needs the host scope'],
    [{ mode: 'bridged' }, 'uplink', 'the name of a bridge'],
    [{ mode: 'bridged', via: 'interface' }, 'interface', 'the name of an interface'],
    [{ mode: 'bridged', via: 'interface', interface: 'br1' }, 'interface', 'own bridge has that name'],
    [{ subnet: '' }, 'subnet', 'a subnet such as'],
    [{ subnet: '10.9.0.0' }, 'subnet', 'a subnet such as'],
    [{ subnet: '10.9.0.1/24' }, 'subnet', 'that is an address inside 10.9.0.0/24'],
    [{ subnet: '192.168.57.128/25' }, 'subnet', 'it overlaps 192.168.57.0/24 of br0'],
    [{ mtu: '575' }, 'mtu', 'a whole number from 576'],
    [{ mtu: '1e3' }, 'mtu', 'a whole number from 576'],
    [{ dhcp: 'range', from: '10.9.1.1', to: '10.9.0.9' }, 'from', 'not an address of 10.9.0.0/24'],
    [{ dhcp: 'range', from: '10.9.0.9', to: '10.9.0.255' }, 'to', 'not an address of 10.9.0.0/24'],
    [{ dhcp: 'range', from: '10.9.0.9', to: '10.9.0.8' }, 'to', 'before 10.9.0.9'],
    [{ dhcp: 'range', from: '', to: '10.9.0.8' }, 'from', 'an IPv4 address'],
  ])('says what is wrong with %o', (part, field, message) => {
    expect(checkForm({ ...form, ...part }, around)[field]).toContain(message);
  });

  it('refuses in the host scope what the computer uses, and tells of it in the private one', () => {
    const taken = { ...form, subnet: '10.0.0.0/16' };
    expect(checkForm(taken, { ...around, scope: 'host' })).toEqual({
      subnet: 'it overlaps 10.0.4.0/24 of wlp3s0',
    });
    expect(checkForm(taken, around)).toEqual({});
    expect(consequences(taken, around)).toEqual([
      'Its guests will not reach 10.0.4.0/24, which is that of wlp3s0.',
    ]);
  });

  it('takes a part of the LAN’s subnet for proxy ARP, and nothing else of it', () => {
    const host: Around = { ...around, scope: 'host' };
    const proxied: NetworkForm = { ...form, mode: 'routed', proxyArp: true, subnet: '10.0.4.192/28' };
    expect(checkForm(proxied, host)).toEqual({});
    const definition = { subnet: '10.0.4.192/28', mode: 'routed', proxyArp: true } as const;
    expect(definitionOf(proxied, null)).toEqual(definition);
    expect(formOf({ ...network(), name: 'br1', definition })).toEqual(proxied);
    expect(definitionOf({ ...proxied, mode: 'nat' }, definition)).not.toHaveProperty('proxyArp');
    expect(definitionOf({ ...proxied, proxyArp: false }, definition)).not.toHaveProperty('proxyArp');
    for (const subnet of ['10.0.4.0/24', '10.0.4.0/23', 'auto'])
      expect(checkForm({ ...proxied, subnet }, host), subnet).toHaveProperty('subnet');
    expect(checkForm({ ...proxied, proxyArp: false }, host)).toHaveProperty('subnet');
  });

  it('keeps what it does not show of a network that it edits', () => {
    const edited: NetworkDefinition = { subnet: '10.9.0.0/24', mode: 'nat', nat: false, address: '10.9.0.9' };
    const row = { ...network(), name: 'br1', definition: edited };
    expect(formOf(row)).toEqual(form);
    expect(definitionOf(form, edited)).toEqual(edited);
    expect(definitionOf({ ...form, mode: 'isolated' }, edited)).toEqual({
      subnet: '10.9.0.0/24',
      mode: 'isolated',
      address: '10.9.0.9',
    });
    expect(definitionOf({ ...form, subnet: '10.8.0.0/16' }, edited)).not.toHaveProperty('address');
  });

  it('says what becomes of the guests', () => {
    const before = formOf(network());
    expect(consequences(before, editing)).toEqual([]);
    expect(consequences({ ...before, subnet: '10.9.0.0/24' }, editing)).toEqual([
      'web moves to 10.9.0.2.',
      'web runs and keeps its old settings until it asks DHCP again: reboot it.',
    ]);
    expect(consequences({ ...before, mode: 'isolated' }, editing)).toEqual([
      'Connections of web to the outside end.',
    ]);
    expect(checkForm({ ...before, dhcp: 'off' }, editing)).toEqual({ dhcp: 'web gets its address from it' });
  });

  it('begins with a free name, and its range goes along with its subnet', () => {
    expect(newForm([network()]).name).toBe('br1');
    expect(newForm([]).name).toBe('br0');
    const ranged = withDhcp(form, 'range');
    expect([ranged.from, ranged.to]).toEqual(['10.9.0.128', '10.9.0.254']);
    expect(withSubnet(ranged, '10.8.0.0/24')).toMatchObject({ from: '10.8.0.128', to: '10.8.0.254' });
    expect(withSubnet(ranged, '10.8.0.0/2')).toMatchObject({ from: '10.9.0.128', to: '10.9.0.254' });
  });
});
