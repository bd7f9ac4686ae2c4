// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { GuestDefinition } from '../../../electron/contract/lab-file.ts';
import {
  checkForm,
  definitionOf,
  freeAddress,
  freeName,
} from '../../../renderer/features/guests/new-guest.ts';
import { guest, network } from './rows.ts';

const form = {
  name: 'db',
  image: 'micro',
  memory: '256M',
  cpus: '1',
  network: 'br0',
  address: '192.168.57.3',
};
const check = (part: Partial<typeof form>) => checkForm({ ...form, ...part }, [guest()], [network()]);

describe('the new guest form', () => {
  it('has nothing against a good one', () => {
    expect(check({})).toEqual({});
    expect(check({ address: '' })).toEqual({});
    expect(check({ network: '', address: '' })).toEqual({});
  });

  it.each([
    [{ name: '' }, 'name', 'a name is needed'],
    [{ name: 'web' }, 'name', 'there is a guest web already'],
    [{ name: '$(id)' }, 'name', 'lower-case letters'],
    [{ name: 'x'.repeat(64) }, 'name', 'at most 63'],
    [{ image: '' }, 'image', 'an image is needed'],
    [{ memory: '256' }, 'memory', 'a size such as'],
    [{ cpus: '0' }, 'cpus', ''],
    [{ cpus: '65' }, 'cpus', ''],
    [{ cpus: '1.5' }, 'cpus', 'a whole number from 1 to 64'],
    [{ network: 'br9' }, 'network', 'there is no network br9'],
    [{ address: '192.168.57' }, 'address', 'an IPv4 address'],
    [{ address: '10.0.0.2' }, 'address', 'is not in 192.168.57.0/24'],
    [{ address: '192.168.57.1' }, 'address', 'taken by the bridge br0'],
    [{ address: '192.168.57.2' }, 'address', 'taken by web'],
    [{ address: '192.168.57.0' }, 'address', 'the subnet itself'],
    [{ address: '192.168.57.255' }, 'address', 'the broadcast address'],
    [{ network: '', address: '192.168.57.3' }, 'address', 'needs a network'],
  ] as const)('says what is wrong with %j', (part, field, message) => {
    const errors = check(part);
    expect(Object.keys(errors)).toEqual([field]);
    expect(errors[field]).toContain(message);
  });

  it('suggests the next free address outside of what DHCP hands out', () => {
    expect(freeAddress(network(), [guest()])).toBe('192.168.57.3');
    const small = network({
      wanted: {
        subnet: '10.0.0.0/29',
        address: '10.0.0.1',
        ipv6: null,
        mode: 'nat',
        uplink: null,
        interface: null,
        nat: true,
        antispoof: true,
        mtu: 1500,
      },
      observed: { ...required(network().observed), dns: { pid: 1, from: '10.0.0.2', to: '10.0.0.5' } },
    });
    expect(freeAddress(small, [])).toBe('10.0.0.6');
    const nic = required(guest().nics[0]);
    expect(freeAddress(small, [guest({ nics: [{ ...nic, address: '10.0.0.6' }] })])).toBeUndefined();
    expect(freeAddress(undefined, [])).toBeUndefined();
  });

  it('suggests a name like the last one', () => {
    expect(freeName([])).toBe('guest');
    expect(freeName([guest()])).toBe('web-2');
    expect(freeName([guest(), guest({ name: 'web-2' })])).toBe('web-3');
  });

  it('becomes a definition of the lab file', () => {
    expect(GuestDefinition.parse(definitionOf(form))).toEqual({
      image: 'micro',
      memory: '256M',
      cpus: 1,
      nics: [{ network: 'br0', address: '192.168.57.3' }],
      forwards: [],
    });
    expect(GuestDefinition.parse(definitionOf({ ...form, network: '', address: '' })).nics).toEqual([]);
  });
});

function required<T>(value: T | null | undefined): T {
  if (value === null || value === undefined) throw new Error('the fixture lacks it');
  return value;
}
