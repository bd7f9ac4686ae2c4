// SPDX-License-Identifier: Apache-2.0
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Docker29 } from '../world/docker-29.ts';
import { dockerRules, dockerTables } from '../world/docker-rules.ts';
import { Firewalls } from '../world/firewalls.ts';
import { HostLab, type PortGuest } from '../world/host-lab.ts';
import { nftRules } from '../world/kernel.ts';
import { hostAddress, until, World } from '../world/world.ts';

/*
 * A lab in the host scope beside the real Docker 29, which Debian does not have: guests and containers get out,
 * neither gets to the other, and what is Docker's is as it was when the lab is down.
 */

let world: World;
let firewalls: Firewalls;
let docker: Docker29;
let lab: HostLab;
let ours: PortGuest;
let stop: () => Promise<void>;

beforeAll(async () => {
  world = World.create();
  await world.serveWan();
  firewalls = await Firewalls.start(world);
  docker = await Docker29.in(firewalls);
  lab = await HostLab.start(world, firewalls.inside);
});
afterAll(() => world?.close());
afterEach(async () => {
  await lab.down().catch(() => undefined);
  await stop?.();
  await firewalls.sh(`nft flush ruleset; rm -rf /var/lib/docker/network
    for bridge in docker0 web internal; do ip link del $bridge 2>/dev/null || :; done
    for family in ipv4 ipv6; do echo 0 > /proc/sys/net/$family/conf/all/forwarding; done`);
});

/** This back end leaves it to the administrator to switch forwarding on, and to guard it. */
const forward = (family: 'ipv4' | 'ipv6'): Promise<string> =>
  firewalls.sh(`for which in all default; do echo 1 > /proc/sys/net/${family}/conf/$which/forwarding; done`);

/** The networks that the tests have a copy of the rules of. */
async function networks(ipv6: boolean): Promise<void> {
  const named = (name: string): string => `network create -o com.docker.network.bridge.name=${name}`;
  const [web6, internal6] = ipv6
    ? ['--ipv6 --subnet 2001:db8:1::/64', '--ipv6 --subnet 2001:db8:2::/64']
    : ['', ''];
  await docker.run(`${named('web')} --subnet 192.0.2.0/24 ${web6} web`);
  await docker.run(`${named('internal')} --internal ${internal6} internal`);
}

async function labIsUp(): Promise<void> {
  await lab.up();
  ours = await lab.guest('192.168.57.50');
  await ours.serve(8080);
  await lab.letIn('192.168.57.50');
  await getsThrough();
}

async function getsThrough(): Promise<void> {
  await ours.getsThrough();
  await lab.isReached();
}

async function getsOut(guest: PortGuest): Promise<void> {
  await until('a guest of Docker’s bridge gets out', 30_000, async () =>
    Object.values(await guest.reaches()).every(Boolean),
  );
}

/** The port that a container publishes answers the LAN. */
async function publishedIsReached(): Promise<void> {
  const ask = `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 3 nc -w 2 ${hostAddress} 8080`;
  await until('the container is reached from the LAN', 30_000, async () => {
    const { stdout } = await world.run(['sh', '-c', ask], { as: 'root', in: 'wan1' });
    return stdout.startsWith('HTTP/1');
  });
}

test('its rules are those that the tests have a copy of', async () => {
  await forward('ipv4');
  await forward('ipv6');
  stop = await docker.start('nftables', '--ipv6 --fixed-cidr-v6 fd00:d0c::/64');
  // What Docker 29 is as a module of Go.
  expect(await docker.run('version -f "{{.Server.Version}}"')).toMatch(/^2\.0\.0-beta\./);
  await networks(true);
  await docker.serve('web');
  const real = await nftRules(world);
  world.file(
    'copy.nft',
    `${dockerTables.map((table) => `delete table ${table}`).join('\n')}\n${dockerRules()}`,
    'root',
  );
  await firewalls.sh(`nft -f ${world.home('root')}/copy.nft`);
  expect(await nftRules(world)).toEqual(real);
  await docker.run('rm -f served');
}, 180_000);

test('it is started while a lab is up, and neither lets the other’s guests in', async () => {
  await labIsUp();
  await expect(docker.start('nftables')).rejects.toThrow(/IPv4 forwarding is disabled/);
  await getsThrough();
  await forward('ipv4');
  stop = await docker.start('nftables');
  await getsThrough();
  await networks(false);
  await docker.serve('web');
  await publishedIsReached();
  await getsThrough();
  // What it drops is for its own bridges.
  expect(await lab.openDoors()).toEqual([]);

  const theirs = await lab.guest('172.17.0.60', 'docker0');
  await getsOut(theirs);
  expect(Object.values(await theirs.reaches('192.168.57.50'))).not.toContain(true);
  for (const address of ['172.17.0.60', '192.0.2.2'])
    expect(Object.values(await ours.reaches(address))).not.toContain(true);

  await docker.run('rm -f served');
  await stop();
  await getsThrough();
  stop = await docker.start('nftables');
  await getsThrough();
  await docker.serve('web');
  await publishedIsReached();
  await getsThrough();
  await docker.run('rm -f served');
  await lab.down();
  await getsOut(theirs);
  expect(await firewalls.sh('nft list ruleset; ip -d link')).not.toContain('tapyard');
}, 240_000);

test('its rules are as before when the lab is down, and no table of iptables was made', async () => {
  await forward('ipv4');
  stop = await docker.start('nftables');
  await networks(false);
  const rules = await firewalls.rules();
  await labIsUp();
  expect(await lab.openDoors()).toEqual([]);
  await stop();
  await getsThrough();
  stop = await docker.start('nftables');
  await getsThrough();
  await lab.down();
  expect(await firewalls.rules()).toEqual(rules);
  expect(await firewalls.sh('nft list tables')).toBe(
    dockerTables.map((table) => `table ${table}\n`).join(''),
  );
  expect(rules.legacy).toEqual([]);
}, 180_000);

test('with iptables it switches forwarding on and drops what it does not know', async () => {
  stop = await docker.start('iptables');
  expect(await firewalls.sh('iptables -S FORWARD')).toContain('-P FORWARD DROP');
  await networks(false);
  const rules = await firewalls.rules();
  await labIsUp();
  expect(await lab.openDoors()).toEqual(['docker: ip filter DOCKER-USER']);
  const theirs = await lab.guest('172.17.0.60', 'docker0');
  await getsOut(theirs);
  expect(Object.values(await theirs.reaches('192.168.57.50'))).not.toContain(true);
  expect(Object.values(await ours.reaches('172.17.0.60'))).not.toContain(true);
  await lab.down();
  expect(await firewalls.rules()).toEqual(rules);
  await getsOut(theirs);

  // It makes its rules in another order each time that it starts.
  await labIsUp();
  await stop();
  await getsThrough();
  stop = await docker.start('iptables');
  await getsThrough();
  await lab.down();
  await getsOut(theirs);
  expect(await firewalls.sh('nft list ruleset; ip -d link')).not.toContain('tapyard');
}, 180_000);
