// SPDX-License-Identifier: Apache-2.0
/* What stock-kernel.test.ts runs in a distribution's kernel, as root: `node stock-kernel-inside.mjs CHECK`. */
import { HostLab } from '../world/host-lab.ts';
import { World } from '../world/world.ts';

/** The host scope: a guest gets out. */
async function hostScope(world: World): Promise<void> {
  await world.serveWan();
  const lab = await HostLab.start(world);
  await lab.up();
  const guest = await lab.guest('192.168.57.2');
  await guest.getsThrough();
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
