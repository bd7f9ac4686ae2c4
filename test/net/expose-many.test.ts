// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { NetdExposure } from '../../electron/core/net/netd-protocol.ts';
import { br0, HostLab } from '../world/host-lab.ts';
import { hostAddress, until, World } from '../world/world.ts';

/* Each port that leads to a guest is a descriptor of netd's at each address: it takes no more than it can spare. */

/** What netd may open: it raises the soft limit to the hard one, and keeps half of that for everything else. */
const [soft, hard] = [64, 128];
const room = hard / 2;

let world: World;
let lab: HostLab;

beforeAll(async () => {
  world = World.create();
  lab = await HostLab.start(world, (command) => ['prlimit', `--nofile=${soft}:${hard}`, ...command]);
  await lab.up();
});
afterAll(() => world?.close());

const exposure = (port: number, address = hostAddress): NetdExposure => ({
  address,
  protocol: 'tcp',
  port,
  to: '192.168.57.50',
  to_port: 80,
});
const expose = (each: NetdExposure) => lab.client.request('expose', { lab: 'seed', exposure: each });
const exposed = async () => (await lab.network())?.exposed ?? [];

test('more ports than netd has descriptors for are refused, and everything else goes on', async () => {
  // One at 0.0.0.0 is one at each of the two addresses.
  await lab.host('ip addr add 203.0.113.3/24 dev eth0');
  const everywhere = exposure(9000, '0.0.0.0');
  await until('both addresses are known', 10_000, async () => (await expose(everywhere)).at.length === 2);
  for (let port = 9001; port <= 9000 + room - 2; port += 1) await expose(exposure(port));
  await expect(expose(exposure(9999))).rejects.toMatchObject({
    code: 'BUSY',
    subject: `${hostAddress}:9999/tcp`,
    message: expect.stringContaining(`keeps ${room} for guests already`),
  });
  expect(await exposed()).toHaveLength(room - 1);

  // An address that comes later finds no room; what is there stays, and netd serves on.
  await lab.host('ip addr add 203.0.113.4/24 dev eth0');
  const other = { name: 'br1', subnet: '192.168.58.0/24', address: '192.168.58.1', mac: '52:54:00:00:00:02' };
  const dhcp = { from: '192.168.58.128', to: '192.168.58.254', reservations: [] };
  const network = { ...br0, ...other, dhcp };
  const applied = await lab.client.request('apply_network', { lab: 'seed', network });
  expect(applied.network.dns?.pid).toBeGreaterThan(0);
  expect((await exposed()).every(({ at }) => at.includes(hostAddress))).toBe(true);

  // What is taken away makes room.
  await lab.client.request('unexpose', { lab: 'seed', address: hostAddress, protocol: 'tcp', port: 9001 });
  await lab.host('ip addr del 203.0.113.4/24 dev eth0; ip addr del 203.0.113.3/24 dev eth0');
  await until('there is room', 10_000, async () => (await exposed())[0]?.at.length === 1);
  expect(await expose(exposure(9999))).toMatchObject({ at: [hostAddress] });
});
