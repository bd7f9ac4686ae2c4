// SPDX-License-Identifier: Apache-2.0

/* Frames as a guest could make them, byte by byte, each with `{frame NAME}` in it, for frames.c to find. */

/** A machine on one network. */
export interface Station {
  readonly mac: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly linkLocal: string;
}

/** What is on the wire, and what it is called. */
export interface Frame {
  readonly name: string;
  readonly bytes: Buffer;
}

const everybody = 'ff:ff:ff:ff:ff:ff';
const nobody = '0.0.0.0';
const allNodes = 'ff02::1';
const [ICMP, UDP, ICMPV6] = [1, 17, 58];

const mac = (text: string): Buffer => Buffer.from(text.replaceAll(':', ''), 'hex');
const ip4 = (text: string): Buffer => Buffer.from(text.split('.').map(Number));
const bytes = (...values: number[]): Buffer => Buffer.from(values);
const u16 = (value: number): Buffer => bytes(value >> 8, value & 0xff);

function ip6(text: string): Buffer {
  const [head = [], tail = []] = text.split('::').map((half) => half.split(':').filter(Boolean));
  const middle = Array<string>(8 - head.length - tail.length).fill('0');
  return Buffer.from([...head, ...middle, ...tail].map((group) => group.padStart(4, '0')).join(''), 'hex');
}

/** The link-local address that a kernel makes of a MAC address (RFC 4291, appendix A), in the prefix. */
export function eui64(prefix: string, address: string): string {
  const [a = 0, b = 0, c = 0, ...rest] = mac(address);
  const id = [a ^ 2, b, c, 0xff, 0xfe, ...rest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return `${prefix}:${id.match(/.{4}/g)?.join(':') ?? ''}`;
}

/** RFC 1071. */
function checksum(...parts: Buffer[]): Buffer {
  const all = Buffer.concat(parts);
  let sum = 0;
  for (let at = 0; at < all.length; at += 2) sum += ((all[at] ?? 0) << 8) | (all[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return u16(~sum & 0xffff);
}

const ether = (to: string, from: string, kind: number, payload: Buffer): Buffer =>
  Buffer.concat([mac(to), mac(from), u16(kind), payload]);

function arp(from: string, operation: 1 | 2, sender: Pick<Station, 'mac' | 'ipv4'>, target: string): Buffer {
  const head = bytes(0, 1, 8, 0, 6, 4, 0, operation);
  const body = [head, mac(sender.mac), ip4(sender.ipv4), Buffer.alloc(6), ip4(target), Buffer.alloc(18)];
  return ether(everybody, from, 0x0806, Buffer.concat(body));
}

function ipv4(source: string, destination: string, protocol: number, payload: Buffer): Buffer {
  const rest = Buffer.concat([ip4(source), ip4(destination)]);
  const head = Buffer.concat([bytes(0x45, 0), u16(20 + payload.length), bytes(0, 7, 0, 0, 64, protocol)]);
  return Buffer.concat([head, checksum(head, rest), rest, payload]);
}

function ipv6(source: string, destination: string, next: number, payload: Buffer): Buffer {
  const head = Buffer.concat([bytes(0x60, 0, 0, 0), u16(payload.length), bytes(next, 255)]);
  return Buffer.concat([head, ip6(source), ip6(destination), payload]);
}

function icmp6(source: string, destination: string, kind: number, body: Buffer): Buffer {
  const pseudo = Buffer.concat([ip6(source), ip6(destination), u16(0), u16(body.length + 4), u16(ICMPV6)]);
  const head = Buffer.concat([bytes(kind, 0), checksum(pseudo, bytes(kind, 0), body)]);
  return ipv6(source, destination, ICMPV6, Buffer.concat([head, body]));
}

/** Without a checksum, which is for the receiver alone. */
const udp = (from: number, to: number, payload: Buffer): Buffer =>
  Buffer.concat([u16(from), u16(to), u16(8 + payload.length), u16(0), payload]);

function echo(text: Buffer): Buffer {
  const body = Buffer.concat([bytes(0, 7, 0, 1), text]);
  return Buffer.concat([bytes(8, 0), checksum(bytes(8, 0), body), body]);
}

function dhcp(operation: 1 | 2, chaddr: string, text: Buffer): Buffer {
  const message = Buffer.alloc(240);
  bytes(operation, 1, 6, 0).copy(message);
  mac(chaddr).copy(message, 28);
  bytes(99, 130, 83, 99).copy(message, 236);
  // Of type DISCOVER or ACK; the end.
  return Buffer.concat([message, bytes(53, 1, operation === 1 ? 1 : 5, 255), text]);
}

/** An option of neighbour discovery that nobody knows (RFC 4727). */
function option(text: Buffer): Buffer {
  const units = Math.ceil((2 + text.length) / 8);
  return Buffer.concat([bytes(253, units), text, Buffer.alloc(units * 8 - 2 - text.length)]);
}

/** Of a neighbour, about an address that is now to be at this MAC address. */
const advert = (target: string, at: string, text: Buffer): Buffer =>
  Buffer.concat([bytes(0x20, 0, 0, 0), ip6(target), bytes(2, 1), mac(at), option(text)]);

/** Ethernet's address of a group. */
function groupMac(group: string): string {
  const [kind, low] = group.includes(':')
    ? ['3333', ip6(group).subarray(12)]
    : ['01005e', bytes((ip4(group)[1] ?? 0) & 0x7f, ip4(group)[2] ?? 0, ip4(group)[3] ?? 0)];
  return `${kind}${low.toString('hex')}`.match(/../g)?.join(':') ?? '';
}

/** Makes frames with their names in the payload, or behind it where there is none. */
class Maker {
  readonly frames: Frame[] = [];
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  add(what: string, make: (text: Buffer) => Buffer): void {
    const name = `${this.#prefix}: ${what}`;
    const text = Buffer.from(`{frame ${name}}`);
    const made = make(text);
    this.frames.push({ name, bytes: made.includes(text) ? made : Buffer.concat([made, text]) });
  }

  v4(what: string, to: string, from: string, source: string, destination: string): void {
    this.add(what, (text) => ether(to, from, 0x0800, ipv4(source, destination, UDP, udp(5000, 5000, text))));
  }

  ping(what: string, to: string, from: string, source: string, destination: string): void {
    this.add(what, (text) => ether(to, from, 0x0800, ipv4(source, destination, ICMP, echo(text))));
  }

  v6(what: string, to: string, from: string, source: string, destination: string): void {
    this.add(what, (text) => ether(to, from, 0x86dd, ipv6(source, destination, UDP, udp(5000, 5000, text))));
  }

  /** An ICMPv6 message to all nodes. */
  nd(what: string, from: string, source: string, kind: number, body: (text: Buffer) => Buffer): void {
    this.add(what, (text) =>
      ether(groupMac(allNodes), from, 0x86dd, icmp6(source, allNodes, kind, body(text))),
    );
  }
}

/** What a guest may send to another of its network: the same kinds of frames as the lies. */
export function truths(prefix: string, own: Station, other: Station, gateway: Station): Frame[] {
  const make = new Maker(prefix);
  make.add('its ARP request', () => arp(own.mac, 1, own, other.ipv4));
  make.add('its ARP answer', () => arp(own.mac, 2, own, gateway.ipv4));
  make.v4('its IPv4', other.mac, own.mac, own.ipv4, other.ipv4);
  make.v4('its IPv4 to everybody', everybody, own.mac, own.ipv4, '255.255.255.255');
  make.add('its DHCP request', (text) =>
    ether(
      everybody,
      own.mac,
      0x0800,
      ipv4(nobody, '255.255.255.255', UDP, udp(68, 67, dhcp(1, own.mac, text))),
    ),
  );
  make.v6('its IPv6', other.mac, own.mac, own.linkLocal, other.linkLocal);
  make.nd('its neighbour advertisement', own.mac, own.linkLocal, 136, (text) =>
    advert(own.linkLocal, own.mac, text),
  );
  return make.frames;
}

/** What it may not: in the name of another guest, of the gateway or of a stranger. */
export function lies(prefix: string, own: Station, other: Station, gateway: Station): Frame[] {
  const make = new Maker(prefix);
  const answers = (from: string, source: string, to: number, payload: Buffer): Buffer =>
    ether(everybody, from, 0x0800, ipv4(source, '255.255.255.255', UDP, udp(67, to, payload)));
  for (const [whose, who] of [
    ['the gateway', gateway],
    ['the other', other],
  ] as const) {
    const [told, told6] = [own.mac, own.linkLocal];
    make.add(`an ARP answer for ${whose}`, () => arp(told, 2, { ...own, ipv4: who.ipv4 }, other.ipv4));
    make.add(`a gratuitous ARP for ${whose}`, () => arp(told, 1, { ...own, ipv4: who.ipv4 }, who.ipv4));
    make.v4(`the IPv4 of ${whose}`, other.mac, told, who.ipv4, other.ipv4);
    make.v6(`the IPv6 of ${whose}`, other.mac, told, who.ipv6, other.ipv6);
    make.v6(`the link-local IPv6 of ${whose}`, other.mac, told, who.linkLocal, other.linkLocal);
    for (const [kind, address] of [
      ['', who.ipv6],
      ['link-local ', who.linkLocal],
    ] as const) {
      make.nd(`a neighbour advertisement for the ${kind}IPv6 of ${whose}`, told, told6, 136, (text) =>
        advert(address, told, text),
      );
    }
    make.add(`a DHCP offer as ${whose}`, (text) => answers(told, who.ipv4, 68, dhcp(2, other.mac, text)));
  }
  make.add('a DHCP offer', (text) => answers(own.mac, own.ipv4, 68, dhcp(2, other.mac, text)));
  make.v4('an IPv4 of elsewhere', other.mac, own.mac, '198.51.100.7', other.ipv4);
  make.v6('an IPv6 of elsewhere', other.mac, own.mac, '2001:db8:bad::7', other.linkLocal);
  // Lifetime 1800 s.
  make.nd('a router advertisement', own.mac, own.linkLocal, 134, (text) =>
    Buffer.concat([bytes(64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0), option(text)]),
  );
  make.nd('a redirect', own.mac, own.linkLocal, 137, (text) =>
    Buffer.concat([bytes(0, 0, 0, 0), ip6(own.linkLocal), ip6('2001:db8::1'), option(text)]),
  );
  make.add('a DHCPv6 offer', (text) => {
    const offer = udp(547, 546, Buffer.concat([bytes(2, 0, 0, 1), text]));
    return ether(groupMac(allNodes), own.mac, 0x86dd, ipv6(own.linkLocal, allNodes, UDP, offer));
  });
  // Last, for where they are believed, what is for the other comes here from now on.
  for (const [whose, address] of [
    ['the other', other.mac],
    ['nobody', '52:54:00:99:99:99'],
  ] as const) {
    make.add(`an ARP request with the MAC of ${whose}`, () =>
      arp(address, 1, { ...own, mac: address }, gateway.ipv4),
    );
    make.v4(`IPv4 with the MAC of ${whose}`, everybody, address, own.ipv4, '255.255.255.255');
  }
  return make.frames;
}

/** Every way from one network into another: to a guest there and to its gateway, by MAC, by route, to groups. */
export function crossings(
  prefix: string,
  own: Station,
  gateway: Station,
  there: { guest: Station; gateway: Station },
): Frame[] {
  const make = new Maker(prefix);
  const { guest } = there;
  for (const [whom, station] of [
    ['the guest', guest],
    ['the gateway', there.gateway],
  ] as const) {
    make.v4(`IPv4 by route to ${whom}`, gateway.mac, own.mac, own.ipv4, station.ipv4);
    make.ping(`a ping by route to ${whom}`, gateway.mac, own.mac, own.ipv4, station.ipv4);
    make.v4(`IPv4 by MAC to ${whom}`, station.mac, own.mac, own.ipv4, station.ipv4);
    make.v6(`IPv6 by route to ${whom}`, gateway.mac, own.mac, own.ipv6, station.ipv6);
    make.v6(`IPv6 by MAC to ${whom}`, station.mac, own.mac, own.linkLocal, station.linkLocal);
    make.add(`a ping of IPv6 by route to ${whom}`, (text) => {
      const body = Buffer.concat([bytes(0, 7, 0, 1), text]);
      return ether(gateway.mac, own.mac, 0x86dd, icmp6(own.ipv6, station.ipv6, 128, body));
    });
  }
  make.add('an ARP request for the guest', () => arp(own.mac, 1, own, guest.ipv4));
  // Where the host believes it, it answers to there.
  make.ping("a ping in the guest's name", gateway.mac, own.mac, guest.ipv4, gateway.ipv4);
  make.v4('IPv4 to everybody there', gateway.mac, own.mac, own.ipv4, guest.ipv4.replace(/\d+$/, '255'));
  make.v4('IPv4 to everybody', everybody, own.mac, own.ipv4, '255.255.255.255');
  for (const group of ['224.0.0.251', '239.1.2.3'])
    make.v4(`IPv4 to ${group}`, groupMac(group), own.mac, own.ipv4, group);
  for (const group of [allNodes, 'ff02::fb', 'ff05::2', 'ff0e::101'])
    make.v6(`IPv6 to ${group}`, groupMac(group), own.mac, own.linkLocal, group);
  return make.frames;
}

/** In the gateway's name, to another port of the bridge: where the kernel tracks that, a connection of the host's. */
export function forgedAnswer(prefix: string, own: Station, other: Station, gateway: Station): Frame[] {
  const make = new Maker(prefix);
  make.v4(`a connection of ${gateway.ipv4}`, other.mac, own.mac, gateway.ipv4, own.ipv4);
  make.v6(`a connection of ${gateway.ipv6}`, other.mac, own.mac, gateway.ipv6, own.ipv6);
  make.v6(`a connection of ${gateway.linkLocal}`, other.mac, own.mac, gateway.linkLocal, own.linkLocal);
  return make.frames;
}

/** What would be its answer, to a port that is nobody's: a host that lets it in says so. */
export function answer(prefix: string, own: Station, gateway: Station): Frame[] {
  const make = new Maker(prefix);
  make.v4(`an answer to ${gateway.ipv4}`, gateway.mac, own.mac, own.ipv4, gateway.ipv4);
  make.v6(`an answer to ${gateway.ipv6}`, gateway.mac, own.mac, own.ipv6, gateway.ipv6);
  make.v6(`an answer to ${gateway.linkLocal}`, gateway.mac, own.mac, own.linkLocal, gateway.linkLocal);
  return make.frames;
}

/** After it everything that was sent before it is there, or will not be. */
export function theEnd(prefix: string, own: Station): Frame {
  const make = new Maker(prefix);
  make.v4('the end', everybody, own.mac, own.ipv4, '255.255.255.255');
  const [end] = make.frames;
  if (end === undefined) throw new Error('a maker makes no frame');
  return end;
}
