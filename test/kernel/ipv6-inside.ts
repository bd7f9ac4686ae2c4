// SPDX-License-Identifier: Apache-2.0
/* IPv6 out of the host scope on a kernel that forwards it for all interfaces or none. */
import assert from 'node:assert/strict';
import { br0, HostLab, type PortGuest } from '../world/host-lab.ts';
import { firstWords, until, type World } from '../world/world.ts';

const root = { as: 'root' } as const;
const wan6 = '2001:db8::1';
const conf = '/proc/sys/net/ipv6/conf';
/** A network of the lab's with IPv6 for each of the two modes that lead out. */
const subnets6 = { br0: 'fd12:3456:789a:1', br1: 'fd12:3456:789a:2' } as const;

/** Something on another interface of the host's, which takes the host for its router. */
interface Neighbour {
  readonly address: string;
  /** The command that leads to it. */
  readonly within: string;
}

async function neighbour(world: World, device: string, net: string): Promise<Neighbour> {
  const sleeper = world.start(['unshare', '-n', 'sh', '-c', 'echo $$; exec sleep 600'], root);
  const pid = (await firstWords(sleeper, 'a neighbour')).trim();
  const within = `nsenter -t ${pid} -n --`;
  await world.must(
    [
      'sh',
      '-ec',
      `ip link add ${device} type veth peer name eth0 netns ${pid}
       ip link set ${device} up; ip addr add ${net}::2/64 dev ${device} nodad
       ${within} sh -ec 'ip link set eth0 up
         ip addr add ${net}::1/64 dev eth0 nodad; ip -6 route add default via ${net}::2'`,
    ],
    root,
  );
  return { address: `${net}::1`, within };
}

/** All of these at once; what answers. */
const pings = (within: string, addresses: readonly string[]): string =>
  addresses
    .map((to) => `{ ${within} busybox ping -6 -c 1 -W 2 ${to} > /dev/null && echo to ${to}; } &\n`)
    .join('');

/** wan1 advertises itself, and the host has its address and its default route from that. */
async function advertised(world: World, host: (script: string) => Promise<string>): Promise<string> {
  const wan = { ...root, in: 'wan1' } as const;
  await world.must(['sh', '-c', `echo 1 > ${conf}/all/forwarding`], wan);
  const options = `--keep-in-foreground --conf-file=/dev/null --port=0 --user= --group= --pid-file=
    --leasefile-ro --interface=eth0 --enable-ra --dhcp-range=2001:db8::,ra-only`;
  world.start(['dnsmasq', ...options.split(/\s+/)], wan);
  let own = '';
  await until('the host is advertised a router', 60_000, async () => {
    const found = await host('ip -6 route show default; ip -6 addr show dev eth0 scope global -tentative');
    own = /inet6 (2001:db8:[^/]+)/.exec(found)?.[1] ?? '';
    return found.includes('proto ra') && own !== '';
  });
  const back = ['fd00::/8', '2001:db8:1::/64', '2001:db8:2::/64'].map(
    (net) => `ip -6 route add ${net} via ${own}`,
  );
  await world.must(['sh', '-ec', back.join('\n')], wan);
  return own;
}

async function guestWithIpv6(lab: HostLab, bridge: 'br0' | 'br1', address: string): Promise<PortGuest> {
  const guest = await lab.guest(address, bridge);
  const net = subnets6[bridge];
  // An advertisement of the network's may have been quicker.
  const { code, stderr } = await guest.run(
    `ip addr add ${net}::50/64 dev eth0 nodad && ip -6 route replace default via ${net}::1`,
  );
  assert.equal(code, 0, stderr);
  return guest;
}

/** Both modes get out; nothing goes between the host's own interfaces; its route stays; all is as before. */
export async function ipv6Out(world: World): Promise<void> {
  await world.serveWan();
  const host = (script: string): Promise<string> => world.must(['sh', '-ec', script], root);
  const neighbours = [
    await neighbour(world, 'eth1', '2001:db8:1'),
    await neighbour(world, 'eth2', '2001:db8:2'),
  ];
  const own = await advertised(world, host);
  const settings = (): Promise<string> =>
    host(`cd ${conf}; for i in all default lo eth0 eth1 eth2; do grep . $i/forwarding $i/accept_ra; done
      ip -6 route show default | sed 's/ expires.*//'`);
  const before = await settings();
  const isolated = async (): Promise<void> => {
    const targets = [wan6, ...neighbours.map(({ address }) => address), `${subnets6.br0}::50`];
    const from = neighbours.map(({ address, within }) =>
      pings(
        within,
        targets.filter((to) => to !== address),
      ),
    );
    assert.equal(await host(`${from.join('')}wait`), '');
    const wan = { ...root, in: 'wan1' } as const;
    assert.equal(await world.must(['sh', '-c', `${pings('', targets.slice(1))}wait`], wan), '');
  };

  const lab = await HostLab.start(world);
  await lab.up({ ipv6: `${subnets6.br0}::/64` });
  const routed = { ...br0, name: 'br1', subnet: '192.168.58.0/24', address: '192.168.58.1' };
  await lab.up({
    ...routed,
    mac: '52:54:00:00:00:11',
    ipv6: `${subnets6.br1}::/64`,
    mode: 'routed',
    nat: false,
    dhcp: { from: '192.168.58.128', to: '192.168.58.254', reservations: [] },
  });
  const { uplink } = await lab.client.request('observe', {});
  assert.deepEqual(
    { device: uplink.ipv6?.device, forwarding: uplink.ipv6?.forwarding, router: uplink.ipv6?.router },
    { device: 'eth0', forwarding: true, router: true },
  );
  assert.equal(await settings(), before.replace('all/forwarding:0', 'all/forwarding:2'), 'all that differs');
  const guest = await guestWithIpv6(lab, 'br0', '192.168.57.50');
  const public6 = await guestWithIpv6(lab, 'br1', '192.168.58.51');
  for (const one of [guest, public6]) {
    let last = {};
    await until('it gets out by IPv6', 60_000, async () => {
      last = await one.reaches(wan6);
      return Object.values(last).every(Boolean);
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}: ${JSON.stringify(last)}`);
    });
  }
  const fetch = `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 10 nc -w 10 ${wan6} 80`;
  assert.match((await guest.run(fetch)).stdout, new RegExp(`hello from wan1 to ${own}`), 'masqueraded');
  assert.match((await public6.run(fetch)).stdout, new RegExp(`hello from wan1 to ${subnets6.br1}:`));
  await isolated();

  await host('ip link del port50; ip link del port51');
  await lab.down('br1');
  await lab.down();
  assert.equal(await settings(), before);
}
