// SPDX-License-Identifier: Apache-2.0
import { afterAll, expect, test } from 'vitest';
import { z } from '../../electron/contract/zod.ts';
import { hostAddress, wanAddress, World } from '../world/world.ts';

const world = World.create();
afterAll(() => world.close());

test('the world is two hosts that reach each other and nothing else', async () => {
  const links = z
    .array(z.looseObject({ ifname: z.string() }))
    .parse(JSON.parse(await world.must(['ip', '-j', 'link'])));
  expect(links.map((link) => link.ifname).sort()).toEqual(['eth0', 'lo']);
  const ping = await world.run(['busybox', 'ping', '-c1', '-W2', wanAddress], { as: 'root' });
  expect(ping.stdout).toContain(`64 bytes from ${wanAddress}`);
  const back = await world.run(['busybox', 'ping', '-c1', '-W2', hostAddress], { as: 'root', in: 'wan1' });
  expect(back.code).toBe(0);
});

test('its user is ordinary: a name, a home, no capability', async () => {
  const status = await world.must(['cat', '/proc/self/status']);
  expect(status).toMatch(/^CapEff:\s+0000000000000000$/m);
  expect((await world.must(['id', '-un'])).trim()).toBe('tester');
  expect(
    (
      await world.must(['sh', '-c', 'echo $HOME; test -w $HOME && test -w $XDG_RUNTIME_DIR && echo writable'])
    ).trim(),
  ).toBe(`${world.home('user')}\nwritable`);
});
