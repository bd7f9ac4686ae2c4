// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Firewalls } from '../world/firewalls.ts';
import { HostLab, type PortGuest } from '../world/host-lab.ts';
import { World } from '../world/world.ts';

/*
 * The IPv6 of a lab in the host scope beside managers of the host's firewall that filter it: out by TCP, UDP and
 * ping, neighbours and names, before and after each of them is loaded again and restarted.
 */

let world: World;
let firewalls: Firewalls;
let lab: HostLab;
let guest: PortGuest;

beforeEach(async () => {
  world = World.create();
  await world.serveWan();
  firewalls = await Firewalls.start(world);
  lab = await HostLab.start(world, firewalls.inside);
  await lab.hasIpv6();
});
afterEach(() => world.close());

/** The lab is up with IPv6 and its guest gets through; the doors that it took. */
async function up(): Promise<string[]> {
  await lab.up({ ipv6: 'fd12:3456:789a:1::/64' });
  guest = await lab.guest('192.168.57.50');
  await getThrough();
  return lab.openDoors();
}

async function getThrough(): Promise<void> {
  await guest.getsThroughByIpv6();
  await guest.getsThrough();
}

test('firewalld: reload, and restart', async () => {
  await firewalls.bus();
  let stop = await firewalls.firewalld();
  const rules = await firewalls.rules();
  expect(await up()).toEqual(['firewalld: zone trusted']);
  await firewalls.sh('firewall-cmd --reload');
  await getThrough();
  await stop();
  await getThrough();
  stop = await firewalls.firewalld();
  await getThrough();
  expect(await lab.openDoors()).toEqual(['firewalld: zone trusted']);
  await lab.down();
  expect(await firewalls.rulesWithoutIdle('trusted')).toEqual(rules);
  await stop();
});

/** Docker 20.10 filters IPv6 where it is told to. */
const daemonJson =
  '{"experimental": true, "ipv6": true, "ip6tables": true, "fixed-cidr-v6": "fd00:d0c::/64"}';

test('Docker with ip6tables: restart', async () => {
  await firewalls.sh(`mkdir -p /etc/docker; echo '${daemonJson}' > /etc/docker/daemon.json`);
  let stop = await firewalls.docker();
  const restart = async (): Promise<void> => {
    await stop();
    stop = await firewalls.docker();
  };
  await restart();
  const rules = await firewalls.rules();
  expect(await firewalls.sh('ip6tables -S FORWARD')).toContain('-P FORWARD DROP');
  // It has no DOCKER-USER of IPv6 yet.
  expect(await up()).toEqual(['docker: ip filter DOCKER-USER', 'iptables: ip6 filter FORWARD']);
  await restart();
  await getThrough();
  await lab.down();
  expect(await firewalls.rules()).toEqual(rules);
  await stop();
});

test('DOCKER-USER of IPv6, as later ones of Docker make it', async () => {
  const docker = `ip6tables -F; ip6tables -P FORWARD DROP
    ip6tables -N DOCKER-USER 2>/dev/null || :
    ip6tables -A DOCKER-USER -j RETURN; ip6tables -A FORWARD -j DOCKER-USER`;
  await firewalls.sh(docker);
  const rules = await firewalls.rules();
  expect(await up()).toEqual(['docker: ip6 filter DOCKER-USER']);
  await firewalls.sh('ip6tables -D FORWARD -j DOCKER-USER; ip6tables -I FORWARD -j DOCKER-USER');
  await getThrough();
  // Somebody flushes all of it, and Docker makes it again.
  await firewalls.sh(docker);
  await getThrough();
  await lab.down();
  expect(await firewalls.rules()).toEqual(rules);
});
