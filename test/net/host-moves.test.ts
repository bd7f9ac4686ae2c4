// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from 'vitest';
import { br0, HostLab, type PortGuest } from '../world/host-lab.ts';
import { kernelState } from '../world/kernel.ts';
import { firstWords, hostAddress, until, wanAddress, World } from '../world/world.ts';

/*
 * The host around a lab: its ways out change, and it has interfaces that are none of the lab's business.
 */

let world: World;
let lab: HostLab;
let guest: PortGuest;
/** Process numbers of the machines in networks of the host's own, by the host's interface. */
const machines = new Map<string, string>();

/** Runs a script in wan1. */
const wan = (script: string): Promise<string> =>
  world.must(['sh', '-ec', script], { as: 'root', in: 'wan1' });

beforeEach(async () => {
  world = World.create();
  await world.serveWan();
  // An address that no cable of the host's leads to by itself.
  await wan('ip addr add 192.0.2.1/32 dev lo');
  const page = `require('http').createServer((q, r) => r.end('seen from ' + q.socket.remoteAddress)).listen(80, '192.0.2.1', () => console.log('ready'))`;
  const pages = world.start([process.execPath, '-e', page], { as: 'root', in: 'wan1' });
  await firstWords(pages, 'the page');
  lab = await HostLab.start(world);
});
afterEach(() => world.close());

/** A second cable between host1 and wan1. */
async function link(name: string, host: string, peer: string, mtu = 1500): Promise<void> {
  await world.must(
    [
      'sh',
      '-ec',
      `ip link add ${name} mtu ${mtu} type veth peer name ${name} mtu ${mtu} netns ${world.wanNetns}
      ip addr add ${host}/24 dev ${name}; ip link set ${name} up
      ip -n ${world.wanNetns} addr add ${peer}/24 dev ${name}; ip -n ${world.wanNetns} link set ${name} up`,
    ],
    { as: 'root' },
  );
}

/** The address in whose name wan1 is asked for a page by the guest. */
async function seenFrom(): Promise<string> {
  const page = await guest.run(`printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 2 nc -w 2 192.0.2.1 80`);
  return /seen from (?:::ffff:)?([0-9.]+)/.exec(page.stdout)?.[1] ?? '';
}

const becomes = (address: string): Promise<boolean> =>
  until(`guests leave by ${address}`, 30_000, async () => (await seenFrom()) === address);

test('the way out moves from cable to Wi-Fi and back', async () => {
  await link('wlan0', '198.51.100.2', '198.51.100.1');
  await lab.up();
  guest = await lab.guest('192.168.57.50');
  await becomes('203.0.113.2');
  await lab.host('ip link set eth0 down; ip route add default via 198.51.100.1 dev wlan0');
  await becomes('198.51.100.2');
  expect(await guest.reaches()).toEqual({ tcp: true, udp: true, ping: true });
  await lab.host(`ip route del default; ip link set eth0 up; ip route add default via ${wanAddress}`);
  await becomes('203.0.113.2');
  await lab.down();
  expect(await lab.host('cat /proc/sys/net/ipv4/conf/*/forwarding | sort -u')).toBe('0\n');
});

test.each([
  [
    'by two routes, as OpenVPN does',
    'ip route add 0.0.0.0/1 via 198.51.100.1; ip route add 128.0.0.0/1 via 198.51.100.1',
    'ip route del 0.0.0.0/1; ip route del 128.0.0.0/1',
  ],
  [
    'by a rule, as wg-quick does',
    'ip route add default via 198.51.100.1 table 51820; ip rule add not fwmark 51820 table 51820; ip rule add table main suppress_prefixlength 0',
    'ip rule del not fwmark 51820 table 51820; ip rule del table main suppress_prefixlength 0',
  ],
])('a VPN takes the way out over %s, with a smaller MTU', async (_how, on, off) => {
  await link('tun0', '198.51.100.2', '198.51.100.1', 1400);
  await lab.up();
  guest = await lab.guest('192.168.57.50');
  await becomes('203.0.113.2');
  await lab.host(on);
  await becomes('198.51.100.2');
  // Where it went and why is told.
  const { acts } = await lab.client.request('acts', {});
  expect(acts.map(({ what }) => what)).toContain(
    "follows the way out from eth0 to tun0, where this computer's default route leads now",
  );
  // The largest segment that each side is told fits the tunnel.
  const sizes = (flags: string): string => `nft -f - <<END
table inet seen {
  chain c {
    type filter hook prerouting priority 0
    tcp flags ${flags} tcp option maxseg size 1360 counter
    tcp flags ${flags} tcp option maxseg size > 1360 counter
  }
}
END
`;
  await wan(sizes('syn / syn,ack'));
  await guest.run(sizes('syn,ack / syn,ack'));
  expect(await seenFrom()).toBe('198.51.100.2');
  const counted = (text: string): string[] => text.match(/packets \d+/g) ?? [];
  expect(counted(await wan('nft list table inet seen'))).toEqual(['packets 1', 'packets 0']);
  expect(counted((await guest.run('nft list table inet seen')).stdout)).toEqual(['packets 1', 'packets 0']);
  // Half of all addresses is a way out, and nobody's subnet.
  const more = { name: 'br1', subnet: '192.168.58.0/24', address: '192.168.58.1', mac: '52:54:00:00:00:02' };
  await lab.client.request('apply_network', { lab: 'seed', network: { ...br0, ...more, dhcp: null } });
  await lab.host(off);
  await becomes('203.0.113.2');
});

test('the way out is a bridge, and br_netfilter shows the firewalls what its ports send each other', async () => {
  await lab.host(`sysctl -qw net.bridge.bridge-nf-call-iptables=1
    ip link add br-lan type bridge; ip link set br-lan up
    ip addr flush dev eth0; ip link set eth0 master br-lan
    ip addr add ${hostAddress}/24 dev br-lan; ip route add default via ${wanAddress}`);
  const sleeper = world.start(['unshare', '-n', 'sh', '-c', 'echo $$; exec sleep 600'], { as: 'root' });
  const neighbour = (await firstWords(sleeper, 'a machine on the bridge')).trim();
  await lab.host(`ip link add port0 type veth peer name eth0 netns ${neighbour}; ip link set port0 master br-lan up
    nsenter -t ${neighbour} -n ip addr add 203.0.113.7/24 dev eth0
    nsenter -t ${neighbour} -n ip link set eth0 up`);
  // A connection of its own each time: an established one passes anyway.
  const neighbourGetsOut = (): Promise<boolean> =>
    until('the neighbour gets out', 20_000, async () => {
      const ping = ['nsenter', '-t', neighbour, '-n', 'busybox', 'ping', '-c', '1', '-W', '1', wanAddress];
      return (await world.run(ping, { as: 'root' })).code === 0;
    });
  await neighbourGetsOut();
  await lab.up();
  guest = await lab.guest('192.168.57.50');
  await guest.getsThrough();
  await neighbourGetsOut();
  await lab.down();
  await neighbourGetsOut();
});

test('two more interfaces, and a default route from router advertisements', async () => {
  // Two networks of the host's own, with a machine in each that takes the host for its router.
  for (const [name, net, net6] of [
    ['lan0', '10.1.0', '2001:db8:1:'],
    ['dmz0', '10.2.0', '2001:db8:2:'],
  ] as const) {
    const sleeper = world.start(['unshare', '-n', 'sh', '-c', 'echo $$; exec sleep 600'], { as: 'root' });
    const pid = await new Promise<string>((resolve) =>
      sleeper.stdout?.setEncoding('utf8').once('data', (text: string) => resolve(text.trim())),
    );
    machines.set(name, pid);
    await lab.host(`ip link add ${name} type veth peer name eth0 netns ${pid}
      ip addr add ${net}.1/24 dev ${name}; ip addr add ${net6}:1/64 dev ${name} nodad; ip link set ${name} up
      nsenter -t ${pid} -n sh -ec 'ip link set eth0 up; ip addr add ${net}.2/24 dev eth0; ip route add default via ${net}.1
        ip addr add ${net6}:2/64 dev eth0 nodad; ip route add default via ${net6}:1'`);
  }
  await lab.host('ip addr add 2001:db8::2/64 dev eth0 nodad');
  await wan(`ip route add 10.0.0.0/8 via 203.0.113.2
    ip route add 2001:db8:1::/64 via 2001:db8::2; ip route add 2001:db8:2::/64 via 2001:db8::2`);
  const router = world.start(
    [
      'dnsmasq',
      '--no-daemon',
      '--port=0',
      '--enable-ra',
      '--interface=eth0',
      '--bind-interfaces',
      '--dhcp-range=2001:db8::,ra-only,64',
      '--ra-param=eth0,high,4,600',
      '--conf-file=/dev/null',
      '--user=root',
    ],
    { as: 'root', in: 'wan1' },
  );
  router.stderr?.resume();
  const routeOf = (): Promise<string> => lab.host('ip -6 route show default proto ra | cut -d" " -f1-5');
  await until('the router is advertised', 20_000, async () => (await routeOf()) !== '');
  const route = await routeOf();
  const before = await kernelState(world);

  // From each network to the others, all the time: nothing may arrive.
  const listen = `for (const type of ['udp4', 'udp6'])
    require('dgram').createSocket({ type, ipv6Only: type === 'udp6' }).on('message', (m) => console.log(type, String(m))).bind(9999);`;
  const heard: string[] = [];
  const enter = (machine: string, script: string): string[] => [
    'nsenter',
    '-t',
    machines.get(machine) ?? '',
    '-n',
    process.execPath,
    '-e',
    script,
  ];
  const send = (to: string[]): string =>
    `const { createSocket } = require('dgram'); const [v4, v6] = ['udp4', 'udp6'].map((type) => createSocket(type)); let n = 0;
    setInterval(() => { for (const to of ${JSON.stringify(to)}) (to.includes(':') ? v6 : v4).send('to ' + to + ' ' + n++, 9999, to, () => {}); }, 5);`;
  for (const start of [
    world.start(enter('lan0', listen), { as: 'root' }),
    world.start(enter('dmz0', listen), { as: 'root' }),
    world.start([process.execPath, '-e', listen], { as: 'root', in: 'wan1' }),
  ])
    start.stdout?.setEncoding('utf8').on('data', (text: string) => heard.push(text));
  world.start(enter('lan0', send(['10.2.0.2', wanAddress, '2001:db8:2::2', '2001:db8::1'])), { as: 'root' });
  world.start(enter('dmz0', send(['10.1.0.2', wanAddress, '2001:db8:1::2', '2001:db8::1'])), { as: 'root' });
  world.start([process.execPath, '-e', send(['10.1.0.2', '10.2.0.2', '2001:db8:1::2', '2001:db8:2::2'])], {
    as: 'root',
    in: 'wan1',
  });

  for (let round = 0; round < 3; round += 1) {
    await lab.up({ ipv6: 'fd12:3456:789a:1::/64' });
    if (round === 0) guest = await lab.guest('192.168.57.50');
    else await guest.plug();
    await guest.getsThrough();
    await guest.getsThroughByIpv6();
    await lab.client.request('set_nat', { lab: 'seed', network: 'br0', nat: false });
    await lab.client.request('set_nat', { lab: 'seed', network: 'br0', nat: true });
    expect(await routeOf()).toBe(route);
    await lab.down();
  }
  await lab.host('ip link del port50');
  expect(heard).toEqual([]);
  expect(await routeOf()).toBe(route);
  const { links: _links, addresses: _addresses, ...rest } = await kernelState(world);
  expect(rest).toEqual({
    routes: before['routes'],
    rules: before['rules'],
    queues: before['queues'],
    forwarding: before['forwarding'],
    proxies: before['proxies'],
  });

  // What somebody sets while the lab is up stays as they set it, and then the probes do arrive.
  await lab.up();
  await lab.host('sysctl -qw net.ipv4.conf.lan0.forwarding=1 net.ipv4.conf.dmz0.rp_filter=2');
  await until('what is forwarded by order is forwarded', 10_000, () => heard.length > 0);
  await lab.host('sysctl -qw net.ipv4.ip_forward=1');
  await lab.down();
  expect(
    await lab.host(
      'cd /proc/sys/net/ipv4; cat ip_forward conf/lan0/forwarding conf/dmz0/rp_filter conf/eth0/forwarding | tr "\\n" " "',
    ),
  ).toBe('1 1 2 1 ');
  expect(await routeOf()).toBe(route);

  // Their probes by IPv6 would have been heard as well.
  expect(heard.join('')).not.toContain('udp6');
  await lab.host('sysctl -qw net.ipv6.conf.all.forwarding=1');
  for (const to of ['2001:db8::1', '2001:db8:1::2', '2001:db8:2::2'])
    await until(`${to} hears by IPv6`, 20_000, () => heard.join('').includes(`udp6 to ${to} `));
});
