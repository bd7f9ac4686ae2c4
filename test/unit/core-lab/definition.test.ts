// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { labFileLimit, readLabFile } from '../../../electron/core/lab/definition.ts';
import { ipv6AddressOf, isOwn, reachesOut, resolveLab } from '../../../electron/core/lab/resolve.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

const seed = `name: seed
networks:
  br0: { subnet: 192.168.57.0/24, nat: true }     # the host is .1
guests:
  guest:
    image: micro
    memory: 256M
    cpus: 1
    nics: [{ network: br0, address: 192.168.57.2 }]
`;

/** "line:column path: message" of each problem. */
function problems(text: string | Uint8Array): string[] {
  const reading = readLabFile(typeof text === 'string' ? bytes(text) : text);
  return reading.problems.map((p) => `${p.line}:${p.column} ${p.path}: ${p.message} | ${p.expected}`);
}

const withLine = (from: string, to: string): string => {
  expect(seed).toContain(from);
  return seed.replace(from, to);
};

describe('a lab file', () => {
  it('of the tutorial is read', () => {
    const reading = readLabFile(bytes(seed));
    expect(reading.problems).toEqual([]);
    expect(reading.definition?.guests['guest']?.nics).toEqual([{ network: 'br0', address: '192.168.57.2' }]);
  });

  it.each([
    [
      'unknown key',
      withLine('memory:', 'memry:'),
      [
        '7:5 guests.guest.memry: "memry" is not a key of guest guest, did you mean "memory"? | one of image, memory, cpus, nics, forwards',
      ],
    ],
    [
      'unknown key of a NIC',
      withLine('address: 192.168.57.2', 'adress: 192.168.57.2'),
      [
        '9:28 guests.guest.nics.0.adress: "adress" is not a key of NIC 0 of guest guest, did you mean "address"? | one of network, address, mac, shape',
      ],
    ],
    [
      'unknown key at the top',
      `${seed}color: red\n`,
      ['10:1 color: "color" is not a key of a lab file | one of name, networks, guests'],
    ],
    [
      'wrong type',
      withLine('256M', '256'),
      ['7:13 guests.guest.memory: "memory" is 256, which is the wrong type | a size such as 256M or 2G'],
    ],
    [
      'empty value',
      withLine('256M', ''),
      ['7:5 guests.guest.memory: "memory" is empty, which is the wrong type | a size such as 256M or 2G'],
    ],
    [
      'out of range',
      withLine('cpus: 1', 'cpus: 65'),
      [
        '8:11 guests.guest.cpus: 65 is not possible here: too big: expected number to be <=64 | a whole number from 1 to 64',
      ],
    ],
    [
      'missing key',
      withLine('    image: micro\n', ''),
      ['6:5 guests.guest: "image" is missing of guest guest | micro, or the path of a disk image'],
    ],
    [
      'host bits',
      withLine('192.168.57.0/24', '192.168.57.1/24'),
      [
        '3:18 networks.br0.subnet: 192.168.57.1/24 is an address inside a subnet, not a subnet: its host bits are set | 192.168.57.0/24',
      ],
    ],
    [
      'libvirt',
      withLine('192.168.57.0/24', '192.168.122.0/24'),
      [
        "3:18 networks.br0.subnet: 192.168.122.0/24 overlaps 192.168.122.0/24, libvirt's default network | another subnet, such as 192.168.57.0/24",
      ],
    ],
    [
      'public subnet',
      withLine('192.168.57.0/24', '8.8.8.0/24'),
      [
        '3:18 networks.br0.subnet: 8.8.8.0/24 is not a private subnet, so real hosts may have its addresses | a subnet within 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, 198.18.0.0/15',
      ],
    ],
    [
      'outside',
      withLine('192.168.57.2 ', '192.168.58.2 '),
      [
        '9:37 guests.guest.nics.0.address: 192.168.58.2 is outside 192.168.57.0/24, the subnet of network br0 | an address from 192.168.57.1 to 192.168.57.254',
      ],
    ],
    [
      'broadcast',
      withLine('192.168.57.2 ', '192.168.57.255 '),
      [
        '9:37 guests.guest.nics.0.address: 192.168.57.255 is the broadcast address of 192.168.57.0/24 | an address from 192.168.57.1 to 192.168.57.254',
      ],
    ],
    [
      'gateway',
      withLine('192.168.57.2 ', '192.168.57.1 '),
      [
        "9:37 guests.guest.nics.0.address: 192.168.57.1 is the host's own address (the gateway) in network br0 | a free address from 192.168.57.1 to 192.168.57.254",
      ],
    ],
    [
      'no such network',
      withLine('network: br0', 'network: br1'),
      [
        '9:23 guests.guest.nics.0.network: there is no network "br1" in this lab, did you mean "br0"? | one of br0',
      ],
    ],
    [
      'mode',
      withLine('nat: true', 'mode: route'),
      ['3:41 networks.br0.mode: "route" is not possible here | one of nat, routed, isolated, bridged'],
    ],
    [
      'a NAT switch without NAT',
      withLine('nat: true', 'mode: isolated, nat: false'),
      [
        '3:51 networks.br0.nat: "nat" is the switch of a network with mode: nat, and br0 is isolated | no "nat" here, or mode: nat',
      ],
    ],
    [
      'addresses without a subnet',
      withLine('subnet: 192.168.57.0/24, nat: true', 'subnet: auto, address: 10.0.0.1'),
      [
        '3:24 networks.br0.address: "address" needs a subnet that the file says, and that of br0 is chosen by Tapyard | a subnet for br0, such as 192.168.57.0/24',
        '9:37 guests.guest.nics.0.address: 192.168.57.2 needs a subnet that the file says, and that of br0 is chosen by Tapyard | a subnet for br0, such as 192.168.57.0/24',
      ],
    ],
    [
      'bridged with a subnet and an address',
      withLine('nat: true', 'mode: bridged'),
      [
        '3:8 networks.br0: "uplink" is missing of network br0 | the name of a bridge, such as br-lan; or "interface", one that this computer does not use',
        '3:10 networks.br0.subnet: "subnet" is not for a bridged network: br0 is a bridge that is there already | no "subnet" here',
        '9:37 guests.guest.nics.0.address: nothing would give the guest 192.168.57.2: network br0 is bridged, and who gives addresses there is not Tapyard | no address',
      ],
    ],
    [
      'proxy ARP of a network with NAT',
      withLine('nat: true', 'proxyArp: false'),
      [
        '3:35 networks.br0.proxyArp: "proxyArp" is for a network with mode: routed, and br0 is nat | no "proxyArp" here, or mode: routed',
      ],
    ],
    [
      'proxy ARP for many',
      withLine('57.0/24, nat: true', '56.0/23, mode: routed, proxyArp: true'),
      [
        '3:18 networks.br0.subnet: 192.168.56.0/23 has more addresses than the 256 that this computer answers for on a LAN | a part of the LAN’s subnet, such as 192.168.1.192/28 of 192.168.1.0/24',
      ],
    ],
    [
      'proxy ARP without a subnet',
      withLine('subnet: 192.168.57.0/24, nat: true', 'mode: routed, proxyArp: true').replace(
        ', address: 192.168.57.2',
        '',
      ),
      [
        '3:24 networks.br0.proxyArp: "proxyArp" needs a subnet that the file says, and that of br0 is chosen by Tapyard | subnet: a part of the LAN’s subnet, such as 192.168.1.192/28 of 192.168.1.0/24',
      ],
    ],
    [
      'proxy ARP that is no switch',
      withLine('nat: true', 'mode: routed, proxyArp: wlan0'),
      ['3:59 networks.br0.proxyArp: "proxyArp" is "wlan0", which is the wrong type | true or false'],
    ],
    [
      'anti-spoofing without DHCP',
      withLine('nat: true', 'dhcp: false, antispoof: true').replace(', address: 192.168.57.2', ''),
      [
        '3:59 networks.br0.antispoof: without DHCP nothing tells which address in network br0 is whose, so none can be guarded | false, or a network with DHCP',
      ],
    ],
    [
      'an IPv6 subnet of the internet',
      withLine('nat: true', 'ipv6: 2001:db8::/64'),
      [
        '3:41 networks.br0.ipv6: "2001:db8::/64" is not valid here: a subnet such as fd12:3456:789a:1::/64 (within fd00::/8, prefix 64, four groups without leading zeros) | true, false, or a subnet such as fd12:3456:789a:1::/64',
      ],
    ],
    [
      'uplink without bridged',
      withLine('nat: true', 'uplink: br-lan'),
      [
        '3:35 networks.br0.uplink: "uplink" is the bridge of a network with mode: bridged, and br0 is nat | no "uplink" here, or mode: bridged',
      ],
    ],
    [
      'interface without bridged',
      withLine('nat: true', 'interface: eth1'),
      [
        '3:35 networks.br0.interface: "interface" is the port of a network with mode: bridged, and br0 is nat | no "interface" here, or mode: bridged',
      ],
    ],
    [
      'bridged by both',
      `name: x\nnetworks:\n  lan: { mode: bridged, uplink: br-lan, interface: eth1 }\n`,
      [
        '3:41 networks.lan.interface: network lan has an "uplink" already, and is on one of the two | no "interface" here, or no "uplink"',
      ],
    ],
    [
      'an interface of two networks, one of its own name, and an MTU',
      `name: x\nnetworks:\n  eth1: { mode: bridged, interface: eth1 }\n  lan: { mode: bridged, interface: eth1, mtu: 1400 }\n`,
      [
        '3:37 networks.eth1.interface: eth1 is the name of the bridge that eth1 is to be a port of | another name for the network, such as lan',
        '4:36 networks.lan.interface: eth1 is the interface of network eth1 already | another interface; or NICs on eth1',
        '4:42 networks.lan.mtu: "mtu" is not for a bridged network: lan is the network behind eth1 | no "mtu" here',
      ],
    ],
    [
      'dhcp type',
      withLine('nat: true', 'dhcp: true'),
      [
        '3:41 networks.br0.dhcp: "dhcp" is true, which is the wrong type | false, or a range such as { from: 192.168.57.100, to: 192.168.57.199 }',
      ],
    ],
    [
      'dhcp key',
      withLine('nat: true', 'dhcp: { from: 192.168.57.9, till: 1 }'),
      [
        '3:41 networks.br0.dhcp: "to" is missing of network br0 | an IPv4 address such as 192.168.57.100',
        '3:63 networks.br0.dhcp.till: "till" is not a key of network br0 | one of from, to',
      ],
    ],
    [
      'dhcp order',
      withLine('nat: true', 'dhcp: { from: 192.168.57.9, to: 192.168.57.8 }'),
      [
        '3:67 networks.br0.dhcp.to: the DHCP range ends at 192.168.57.8 before it begins at 192.168.57.9 | an address from 192.168.57.9 on',
      ],
    ],
    [
      'dhcp off but address',
      withLine('nat: true', 'dhcp: false'),
      [
        '9:37 guests.guest.nics.0.address: nothing would give the guest 192.168.57.2: network br0 has DHCP turned off | no address, or a network with DHCP',
      ],
    ],
    [
      'our own interface',
      seed.replaceAll('br0', 'up0'),
      ['3:3 networks.up0: "up0" is the name of Tapyard\'s own uplink interface | another name, such as br0'],
    ],
    [
      '__proto__',
      withLine('  br0:', '  __proto__:'),
      ['3:3 networks.__proto__: "__proto__" cannot be a name | another name'],
    ],
  ])('with a problem is told where and what: %s', (_name, text, expected) => {
    expect(problems(text)).toEqual(expected);
  });

  it.each([
    ['64 characters', 'a'.repeat(64), 'has at most 63 characters'],
    ['a path', '../', 'lower-case letters, digits and hyphens'],
    ['a newline', '"a\\nb"', 'lower-case letters, digits and hyphens'],
    ['a command', '$(id)', 'lower-case letters, digits and hyphens'],
    ['an escape sequence', '"\\e[31m"', 'lower-case letters, digits and hyphens'],
  ])('refuses %s as a guest name', (_what, name, message) => {
    const found = problems(withLine('  guest:', `  ${name}:`));
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/^5:3 guests\./);
    expect(found[0]).toContain(message);
    expect(found[0]).not.toContain('\n');
    expect(found[0]).not.toContain('\u001b');
  });

  it.each([
    ['a'.repeat(64), '1:7'],
    ['../', '1:7'],
    ['"a\\nb"', '1:7'],
    ['$(id)', '1:7'],
    ['5', '1:7'],
  ])('refuses %s as a lab name', (name, at) => {
    expect(problems(withLine('name: seed', `name: ${name}`))[0]?.split(' ')[0]).toBe(at);
  });

  it('refuses 16 characters as a network name', () => {
    expect(problems(withLine('  br0:', '  a234567890123456:'))[0]).toContain('at most 15 characters');
  });

  it('refuses two guests with one name', () => {
    expect(problems(`${seed}  guest:\n    image: micro\n`)).toEqual([
      '10:3 guests.guest: "guest" stands here a second time; the first is in line 5 | a name that no other has',
    ]);
  });

  it('refuses subnets that overlap', () => {
    expect(problems(withLine('guests:', '  br1: { subnet: 192.168.0.0/16 }\nguests:'))).toContain(
      "4:18 networks.br1.subnet: 192.168.0.0/16 overlaps 192.168.122.0/24, libvirt's default network | another subnet, such as 192.168.57.0/24",
    );
    expect(problems(withLine('guests:', '  br1: { subnet: 192.168.57.128/25 }\nguests:'))).toEqual([
      '4:18 networks.br1.subnet: 192.168.57.128/25 overlaps 192.168.57.0/24 of network br0 | a subnet that no other network of the lab uses',
    ]);
  });

  it('refuses an address and a MAC that are used twice', () => {
    const nic = '{ network: br0, address: 192.168.57.2, mac: "52:54:00:00:00:01" }';
    expect(
      problems(
        `${seed.replace('[{ network: br0, address: 192.168.57.2 }]', `[${nic}]`)}  b: { image: micro, nics: [${nic}] }\n`,
      ),
    ).toEqual([
      '10:54 guests.b.nics.0.address: 192.168.57.2 is already the address of NIC 0 of guest | a free address from 192.168.57.1 to 192.168.57.254',
      '10:73 guests.b.nics.0.mac: 52:54:00:00:00:01 is already the MAC address of NIC 0 of guest | a MAC address of its own',
    ]);
  });

  it.each([
    ['a: [1', '1:6'],
    ['name: "x', '1:9'],
    ['a:\n\tb: 1', '2:1'],
    ['a: b: c', '1:4'],
    ['name: a\n---\nname: b', '2:1'],
    ['name: !!js/function x', '1:7'],
    ['', '1:1'],
    ['# nothing\n', '1:1'],
    ['just text', '1:1'],
    ['- a\n- b', '1:1'],
    ['a: *nope', '1:4'],
    ['[\u0000]', '1:1'],
  ])('that is not a lab at all has a place: %j', (text, at) => {
    expect(problems(text)[0]?.split(' ')[0]).toBe(at);
  });

  it('refuses alias bombs, deep nesting, great size and other encodings', () => {
    let bomb = 'a0: &a0 [x,x,x,x,x,x,x,x,x]\n';
    for (let i = 1; i < 9; i++)
      bomb += `a${i}: &a${i} [${Array(9)
        .fill(`*a${i - 1}`)
        .join(',')}]\n`;
    expect(problems(bomb)[0]).toContain('2:10 : aliases make this file grow without bound');
    expect(problems('['.repeat(500_000))).toEqual(['1:201 : the file is nested too deeply | a lab file']);
    expect(problems('- '.repeat(100_000))).not.toEqual([]);
    expect(problems(new Uint8Array(labFileLimit + 1).fill(0x23))[0]).toContain('at most 1048576');
    expect(problems(new Uint8Array([...bytes('name: a\nx: '), 0xff]))).toEqual([
      '2:4 : the file is not UTF-8 text | a YAML file in UTF-8',
    ]);
    expect(problems('a: &a [*a]')).not.toEqual([]);
  });
});

const resolve = (text: string): ReturnType<typeof resolveLab> => {
  const { definition } = readLabFile(bytes(text));
  if (!definition) throw new Error(problems(text).join('\n'));
  return resolveLab(definition);
};

describe('a resolved lab', () => {
  it('is guarded where there is DHCP, unless it says otherwise', () => {
    const guarded = (keys: string): boolean | undefined =>
      resolve(`name: x\nnetworks: { br0: { subnet: 10.0.0.0/24${keys} } }`).networks[0]?.antispoof;
    expect(guarded('')).toBe(true);
    expect(guarded(', antispoof: true')).toBe(true);
    expect(guarded(', antispoof: false')).toBe(false);
    const bridged = (keys: string): boolean | undefined =>
      resolve(`name: x\nnetworks: { lan: { mode: bridged, uplink: br-lan${keys} } }`).networks[0]?.antispoof;
    expect([bridged(''), bridged(', antispoof: true'), bridged(', antispoof: false')]).toEqual([
      true,
      true,
      false,
    ]);
    expect(guarded(', dhcp: false')).toBe(false);
  });

  it('has an IPv6 subnet of its own where it asks for one', () => {
    const text = `name: x
networks:
  a: { subnet: 10.0.0.0/24, ipv6: true }
  b: { subnet: 10.1.0.0/16, ipv6: true }
  c: { subnet: 10.0.2.0/24, ipv6: fd12:3456:789a:1::/64 }
  d: { subnet: 10.0.3.0/24, ipv6: false }
`;
    const [a, b, c, d] = resolve(text).networks.filter(isOwn);
    expect(a?.ipv6).toMatch(/^fd[0-9a-f]{2}(:[0-9a-f]{1,4}){3}::\/64$/);
    expect(resolve(text).networks[0]?.ipv6).toBe(a?.ipv6);
    expect(b?.ipv6?.split(':').slice(0, 3)).toEqual(a?.ipv6?.split(':').slice(0, 3));
    expect(b?.ipv6).not.toBe(a?.ipv6);
    expect([c?.ipv6, d?.ipv6]).toEqual(['fd12:3456:789a:1::/64', null]);
    expect(c && ipv6AddressOf(c, '10.0.2.10')).toBe('fd12:3456:789a:1::a');
    expect(b && ipv6AddressOf(b, '10.1.2.3')).toBe(b?.ipv6?.replace('::/64', '::203'));
    expect(d && ipv6AddressOf(d, '10.0.3.1')).toBeNull();
  });

  it('has a NAT switch only where there is NAT', () => {
    const lab = resolve(`name: x
networks:
  a: { subnet: 10.0.0.0/24 }
  b: { subnet: 10.0.1.0/24, mode: nat, nat: false }
  c: { subnet: 10.0.2.0/24, mode: routed }
  d: { subnet: 10.0.3.0/24, mode: isolated }
`);
    expect(lab.networks.map(({ mode, nat }) => [mode, nat, reachesOut({ mode, nat })])).toEqual([
      ['nat', true, true],
      ['nat', false, false],
      ['routed', false, true],
      ['isolated', false, false],
    ]);
  });

  it('has every default filled in', () => {
    const lab = resolve(seed);
    expect(lab).toEqual(resolve(seed));
    expect(lab.networks).toEqual([
      {
        name: 'br0',
        mode: 'nat',
        subnet: '192.168.57.0/24',
        prefix: 24,
        address: '192.168.57.1',
        ipv6: null,
        mac: expect.stringMatching(/^52:54:00:/),
        mtu: 1500,
        nat: true,
        proxyArp: false,
        antispoof: true,
        dhcp: {
          from: '192.168.57.128',
          to: '192.168.57.254',
          reservations: [{ mac: lab.guests[0]?.nics[0]?.mac, address: '192.168.57.2', guest: 'guest' }],
        },
        uplink: null,
        interface: null,
      },
    ]);
    expect(lab.guests[0]).toMatchObject({ name: 'guest', image: 'micro', memory: 268_435_456, cpus: 1 });
    expect(lab.guests[0]?.nics[0]).toMatchObject({
      index: 0,
      network: 'br0',
      tap: 'tap0',
      address: '192.168.57.2',
    });
  });

  it('keeps MACs apart, and taps away from networks of the same name', () => {
    const lab = resolve(`name: x
networks: { tap0: { subnet: 10.0.0.0/30, dhcp: false, address: 10.0.0.2 }, br1: { subnet: 10.1.0.0/24 } }
guests:
  constructor: { image: micro, memory: 1G, nics: [{ network: tap0 }, { network: br1 }] }
  b: { image: a.qcow2, nics: [{ network: br1 }] }
`);
    const nics = lab.guests.flatMap((guest) => guest.nics);
    expect(nics.map((nic) => nic.tap)).toEqual(['tap1', 'tap2', 'tap3']);
    expect(new Set([...nics, ...lab.networks].map((thing) => thing.mac)).size).toBe(5);
    expect(lab.guests[0]?.memory).toBe(2 ** 30);
    expect(lab.networks[0]).toMatchObject({ dhcp: null, address: '10.0.0.2' });
  });
});
