// SPDX-License-Identifier: Apache-2.0
import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { HostLab } from '../world/host-lab.ts';
import { checkoutInside, until, World } from '../world/world.ts';

/* `tapyard-tap` leads to a guest by its IPv6 address as it does by IPv4's. */

const address = 'fd12:3456:789a:1::50';

let world: World;
let words: string[];
beforeAll(async () => {
  world = World.create();
  const lab = await HostLab.start(world);
  await lab.up({ ipv6: 'fd12:3456:789a:1::/64' });
  const guest = await lab.guest('192.168.57.50');
  const server = `require('node:net').createServer((s) => s.on('error', () => {}).end('hello from IPv6\\n')).listen(80, '${address}')`;
  await guest.run(`ip addr add ${address}/64 dev eth0 nodad
    setsid ${process.execPath} -e "${server}" </dev/null >/dev/null 2>&1 &`);
  words = ['--netd', `${world.runtimeDir('root')}/netd/netd.sock`, '--lab', 'seed'];
});
afterAll(() => world?.close());

const tap = `${checkoutInside}/native/target/release/tapyard-tap`;
const root = { as: 'root' } as const;

test('dial and forward', { timeout: 60_000 }, async () => {
  const dial = () => world.run([tap, 'dial', ...words, address, '80'], root);
  await until('the guest serves', 30_000, async () => (await dial()).stdout === 'hello from IPv6\n');
  const refused = await world.run([tap, 'dial', ...words, address, '81'], root);
  expect(refused).toMatchObject({ code: 1, stdout: '' });
  expect(refused.stderr).toContain(`${address} refuses connections to port 81`);

  const leads = ['--listen', '127.0.0.1:8080', '--to', `[${address}]:80`];
  const forward = world.start([tap, 'forward', ...words, ...leads], root);
  if (!forward.stdout) throw new Error('no output of the forward');
  await once(forward.stdout, 'data');
  const asked = await world.run(['sh', '-c', 'nc -w 5 127.0.0.1 8080 </dev/null'], root);
  expect(asked.stdout).toBe('hello from IPv6\n');
  forward.kill('SIGKILL');
});
