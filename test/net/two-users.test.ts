// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from 'vitest';
import { br0, HostLab, onOlderHost, type OnHost, type PortGuest } from '../world/host-lab.ts';
import { type Json, kernelState } from '../world/kernel.ts';
import { firstWords, hostAddress, until, wanAddress, World } from '../world/world.ts';

/*
 * A netd of root's and one of a user's in one network namespace: each has a table of its own, they share the way
 * out, and neither may shut the other's guests in, or leave the machine a router.
 */

const wan6 = '2001:db8::1';
const root = { as: 'root' } as const;
/** What the two have: the network of each, and its guest's address and port on the LAN. */
const networks = {
  root: { ...br0, ipv6: 'fd12:3456:789a:1::/64' },
  user: {
    ...br0,
    name: 'br1',
    subnet: '192.168.58.0/24',
    address: '192.168.58.1',
    mac: '52:54:00:00:00:02',
    dhcp: { from: '192.168.58.128', to: '192.168.58.254', reservations: [] },
    ipv6: 'fd12:3456:789a:2::/64',
  },
} as const;
const guests = {
  root: { address: '192.168.57.50', ipv6: 'fd12:3456:789a:1', port: 8080 },
  user: { address: '192.168.58.51', ipv6: 'fd12:3456:789a:2', port: 8081 },
} as const;
type Owner = keyof typeof networks;

let world: World;
let labs: Record<Owner, HostLab>;
let before: Record<string, Json>;
/** A machine in a network of the host's own, which is none of the labs' business. */
let machine: string;

const host = (script: string): Promise<string> => world.must(['sh', '-ec', script], root);
const wan = (script: string): Promise<string> => world.must(['sh', '-ec', script], { ...root, in: 'wan1' });

beforeEach(async () => {
  world = World.create();
  await world.serveWan();
  await host(`ip addr add 2001:db8::2/64 dev eth0 nodad; ip -6 route add default via ${wan6}`);
  const sleeper = world.start(['unshare', '-n', 'sh', '-c', 'echo $$; exec sleep 600'], root);
  machine = (await firstWords(sleeper, 'the machine')).trim();
  await host(`ip link add lan0 type veth peer name eth0 netns ${machine}
    ip addr add 10.1.0.1/24 dev lan0; ip addr add fd00:1::1/64 dev lan0 nodad; ip link set lan0 up
    nsenter -t ${machine} -n sh -ec 'ip link set eth0 up; ip addr add 10.1.0.2/24 dev eth0
      ip addr add fd00:1::2/64 dev eth0 nodad; ip route add default via 10.1.0.1; ip -6 route add default via fd00:1::1'`);
  // Whatever comes from wan1 to that machine, or the other way, by order of nobody.
  const count = (address: string, address6: string): string =>
    `nft 'add table inet seen; add chain inet seen c { type filter hook prerouting priority 0; }
      add rule inet seen c ip saddr ${address} counter; add rule inet seen c ip6 saddr ${address6} counter'`;
  await host(`nsenter -t ${machine} -n ${count(wanAddress, wan6)}`);
  await wan(`${count('10.1.0.2', 'fd00:1::2')}
    ip route add 10.1.0.0/24 via ${hostAddress}; ip -6 route add fd00:1::/64 via 2001:db8::2`);
  const probe = (a: string, b: string): string =>
    `busybox ping -q -i 0.2 ${a} & exec busybox ping -6 -q -i 0.2 ${b}`;
  world.start(['sh', '-c', probe('10.1.0.2', 'fd00:1::2')], { ...root, in: 'wan1' });
  world.start(['nsenter', '-t', machine, '-n', 'sh', '-c', probe(wanAddress, wan6)], root);
  before = await kernelState(world);
});
async function startNetds(onHost?: OnHost): Promise<void> {
  labs = { root: await HostLab.start(world, onHost), user: await HostLab.start(world, onHost, 'user') };
}
afterEach(() => world.close());

/** How many packets got through between wan1 and the machine behind lan0: there, there by IPv6, back, back. */
async function strays(): Promise<number[]> {
  const list = 'nft list table inet seen';
  const lists = (await host(`nsenter -t ${machine} -n ${list}`)) + (await wan(list));
  return [...lists.matchAll(/packets (\d+)/g)].map(([, count]) => Number(count));
}

/** Brings one's network up, with a guest that serves a port on the LAN. */
async function up(owner: Owner): Promise<PortGuest> {
  await labs[owner].up(networks[owner]);
  const { address, ipv6, port } = guests[owner];
  const guest = await labs[owner].guest(address, networks[owner].name);
  expect(
    await guest.run(
      `ip addr add ${ipv6}::50/64 dev eth0 nodad && ip -6 route replace default via ${ipv6}::1`,
    ),
  ).toMatchObject({ code: 0 });
  await guest.serve(port);
  const exposure = { address: hostAddress, protocol: 'tcp', port, to: address, to_port: port } as const;
  await labs[owner].client.request('expose', { lab: 'seed', exposure });
  return guest;
}

/** The guest gets out by both, is served, and is reached at its port. */
async function isConnected(owner: Owner, guest: PortGuest): Promise<void> {
  await guest.getsThrough();
  await until('IPv6 gets through', 30_000, async () => {
    const { tcp, udp, ping } = await guest.reaches(wan6);
    return tcp && udp && ping;
  });
  await until('the guest is reached from the LAN', 30_000, async () => {
    const script = `timeout 3 nc -w 2 ${hostAddress} ${guests[owner].port} </dev/null | head -n 1`;
    const said = await world.run(['sh', '-c', script], { ...root, in: 'wan1' });
    return said.stdout === `you are ${wanAddress}\n`;
  });
}

/** Whether the way out forwards by IPv4, and by IPv6 alone; whether the machine does by IPv6, where 2 is "for labs". */
const wayOut = (): Promise<string> =>
  host(
    `cd /proc/sys/net
     cat ipv4/conf/eth0/forwarding ipv6/conf/eth0/force_forwarding ipv6/conf/all/forwarding | tr -d "\\n"`,
  );

test.each([
  ['root', 'user', 'this kernel', undefined, '110'],
  ['user', 'root', 'this kernel', undefined, '110'],
  ['user', 'root', 'an older kernel', onOlderHost, '102'],
] as const)(
  '%s first, %s second, on %s: both get out, and whoever stays goes on',
  async (first, second, _kernel, onHost, open) => {
    await startNetds(onHost);
    const one = await up(first);
    await isConnected(first, one);
    const two = await up(second);
    await Promise.all([isConnected(second, two), isConnected(first, one)]);
    // Apart from each other they are as any two labs.
    expect((await one.run(`busybox ping -c 1 -W 1 ${guests[second].address}`)).code).not.toBe(0);
    expect((await two.run(`timeout 2 nc -w 1 ${guests[first].address} ${guests[first].port}`)).stdout).toBe(
      '',
    );

    await labs[first].down(networks[first].name);
    expect(await wayOut(), 'the other one needs it').toBe(open);
    for (const { client } of Object.values(labs)) {
      const { acts } = await client.request('acts', {});
      expect(acts.map(({ what }) => what)).not.toContain('switched forwarding of eth0 off');
    }
    await isConnected(second, two);

    // The first comes back, and the second goes before it.
    const again = await up(first);
    await Promise.all([isConnected(first, again), isConnected(second, two)]);
    await labs[second].down(networks[second].name);
    expect(await wayOut()).toBe(open);
    await isConnected(first, again);
    expect(await strays()).toEqual([0, 0, 0, 0]);
    await labs[first].down(networks[first].name);
    expect(await wayOut()).toBe('000');
    await host('ip link del port50; ip link del port51');
    expect(await kernelState(world)).toEqual(before);

    // The probes would have told.
    await host('sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1');
    await until('the probes get through', 30_000, async () => (await strays()).every((count) => count > 0));
  },
);

test('while the netd of one is dead the other comes, goes on and goes', async () => {
  await startNetds();
  const one = await up('root');
  await labs.root.restart(async () => {
    const two = await up('user');
    await Promise.all([isConnected('user', two), isConnected('root', one)]);
    await labs.user.down('br1');
    expect(await wayOut()).toBe('110');
    await isConnected('root', one);
    await up('user');
  });
  expect(await strays()).toEqual([0, 0, 0, 0]);
  // What somebody sets meanwhile is theirs, though both had switched it on.
  await host('sysctl -qw net.ipv4.ip_forward=1');
  await labs.root.down('br0');
  await labs.user.down('br1');
  expect(await wayOut()).toBe('100');
});
