// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from 'vitest';
import { br0, HostLab, type PortGuest } from '../world/host-lab.ts';
import { until, World } from '../world/world.ts';

/* What a guest hears from the network's dnsmasq: names and addresses both ways, and its reserved addresses. */

const mac = '52:54:00:00:00:02';
const subnet6 = 'fd12:3456:789a:1';

let world: World;
let lab: HostLab;
let guest: PortGuest;
beforeAll(async () => {
  world = World.create();
  lab = await HostLab.start(world);
  const dhcp = { ...br0.dhcp, reservations: [{ mac, address: '192.168.57.2', guest: 'guest' }] };
  await lab.client.request('apply_network', {
    lab: 'seed',
    network: { ...br0, ipv6: `${subnet6}::/64`, dhcp },
  });
  guest = await lab.guest('192.168.57.2');
  const script = `ip link set eth0 down address ${mac}; sysctl -qw net.ipv6.conf.eth0.accept_ra=2; ip link set eth0 up`;
  expect(await guest.run(script)).toMatchObject({ code: 0 });
  await guest.run('busybox udhcpc -i eth0 -x hostname:guest -n -q -f -t 10 -T 1 -s /bin/true');
  await until('the lease', 30_000, async () => ((await lab.network())?.leases.length ?? 0) > 0);
});
afterAll(() => world?.close());

const ask = async (type: string, name: string): Promise<string> => {
  const server = '192.168.57.1';
  return (await guest.run(`busybox timeout 5 busybox nslookup -type=${type} ${name} ${server} 2>&1`)).stdout;
};

test('guest.lab and its address lead to each other', async () => {
  expect(await ask('a', 'guest.lab')).toContain('Address: 192.168.57.2\n');
  expect(await ask('ptr', '2.57.168.192.in-addr.arpa')).toContain('name = guest.lab');
  expect(await ask('a', 'nobody.lab')).toContain('NXDOMAIN');
});

test('so do guest.lab and the address that the guest made from the advertisement', async () => {
  const answer = await until('AAAA of guest.lab', 60_000, async () => {
    const said = await ask('aaaa', 'guest.lab');
    return said.includes(`Address: ${subnet6}:`) ? said : false;
  });
  // EUI-64 of its MAC address.
  expect(answer).toContain(`${subnet6}:5054:ff:fe00:2`);
});

/** A DHCPv6 message (RFC 8415) from the guest, each second for so many; the answer in hex, if there is one. */
async function dhcp6(message: string, seconds: number): Promise<string> {
  const program = `const socket = require("node:dgram").createSocket("udp6");
    const duid = Buffer.from("00030001${mac.replaceAll(':', '')}", "hex");
    const option = (code, body) => {
      const head = Buffer.alloc(4);
      head.writeUInt16BE(code, 0);
      head.writeUInt16BE(body.length, 2);
      return Buffer.concat([head, body]);
    };
    const address = (text) => Buffer.concat([Buffer.from(text.replaceAll(":", ""), "hex"), Buffer.alloc(8, 255)]);
    const association = (...inner) => option(3, Buffer.concat([Buffer.alloc(12), ...inner]));
    const message = (type, ...options) =>
      Buffer.concat([Buffer.from([type, 1, 2, 3]), option(1, duid), ...options, option(8, Buffer.alloc(2))]);
    const relayed = (inner) => Buffer.concat([Buffer.from([12, 0]), Buffer.alloc(32), option(9, inner)]);
    const relay = require("node:dgram").createSocket("udp6").bind(547); // where a relay is answered
    for (const ear of [socket, relay])
      ear.on("message", (answer) => { console.log(answer.toString("hex")); process.exit(0); });
    socket.bind(546, () => {
      const send = () => socket.send(${message}, 547, "ff02::1:2%eth0");
      send();
      setInterval(send, 1000);
      setTimeout(() => process.exit(0), ${seconds * 1000});
    });`;
  const { code, stdout, stderr } = await guest.run(`${process.execPath} -e '${program}'`);
  expect(code, stderr).toBe(0);
  return stdout;
}

test('DHCPv6 offers the reserved address', async () => {
  const offer = await dhcp6('message(1, association())', 20);
  expect(offer).toMatch(/^02010203/); // ADVERTISE
  // OPTION_IAADDR (5) of 24 bytes, which begin with the address.
  expect(offer).toContain('00050018fd123456789a00010000000000000002');
});

test('nobody makes leases of any address by DHCPv6, with which one guest could use up all there are', async () => {
  // The answer to a REBIND of what nobody leased is a lease, where a server is authoritative.
  const rebind = 'message(6, association(option(5, address("fd12:3456:789a:0001:0000:0000:dead:0001"))))';
  expect(await dhcp6(rebind, 3)).toBe('');
  expect(await dhcp6(`relayed(${rebind})`, 3)).toBe('');
  expect(await dhcp6('message(1, association())', 20)).toMatch(/^02010203/);
});

test('no guest is whom others ask for a proxy', async () => {
  const address = 'Address: 192.168.57.'; // the server's own stands behind a tab
  const another = await lab.guest('192.168.57.3');
  const lease = (name: string) =>
    another.run(`busybox udhcpc -i eth0 -x hostname:${name} -n -q -f -t 10 -T 1 -s /bin/true`);
  await lease('other');
  await until('its name', 30_000, async () => (await ask('a', 'other.lab')).includes(address));
  for (const name of ['wpad', 'WPAD', 'isatap']) {
    expect(await lease(name)).toMatchObject({ code: 0 });
    expect(await ask('a', `${name}.lab`)).toContain('NXDOMAIN');
  }
});
