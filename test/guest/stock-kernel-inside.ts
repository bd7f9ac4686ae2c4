// SPDX-License-Identifier: Apache-2.0
/* What stock-kernel.test.ts runs in a distribution's kernel, as root: `node stock-kernel-inside.mjs CHECK`. */
import assert from 'node:assert/strict';
import { HostLab } from '../world/host-lab.ts';
import { kernelState } from '../world/kernel.ts';
import { World } from '../world/world.ts';

/** The host scope: a guest gets out, NAT cuts it off and lets it out, and `down` leaves the kernel as it was. */
async function hostScope(world: World): Promise<void> {
  await world.serveWan();
  const before = await kernelState(world);
  const lab = await HostLab.start(world);
  await lab.up();
  const guest = await lab.guest('192.168.57.2');
  await guest.getsThrough();
  await lab.client.request('set_nat', { lab: 'seed', network: 'br0', nat: false });
  assert.deepEqual(await guest.reaches(), { tcp: false, udp: false, ping: false });
  await lab.client.request('set_nat', { lab: 'seed', network: 'br0', nat: true });
  await guest.getsThrough();
  await lab.host('ip link del port2');
  await lab.down();
  assert.deepEqual(await kernelState(world), before);
}

const checks: Record<string, (world: World) => Promise<void>> = { 'host scope': hostScope };

const check = checks[process.argv[2] ?? ''];
if (check === undefined) throw new Error(`there is no check ${process.argv[2]}`);
const world = World.create();
try {
  await check(world);
} finally {
  world.close();
}
