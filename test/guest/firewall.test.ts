// SPDX-License-Identifier: Apache-2.0
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Firewalls } from '../world/firewalls.ts';
import { GuestShell } from '../world/guest-shell.ts';
import { checkoutInside, type Finished, until, wanAddress, World } from '../world/world.ts';

/*
 * A real guest behind ufw, which drops what is forwarded: it gets out by TCP, UDP and ping before and after ufw is
 * loaded again, and switched off and on; and what was opened for it is told. Docker, firewalld and the others, with
 * guests that are namespaces: test/net/doors-firewalls.test.ts.
 */

let world: World;
let firewalls: Firewalls;

const tapyard = (...args: string[]): Promise<Finished> =>
  world.run(firewalls.inside(world.tapyardCommand(args)), { as: 'root', timeout: 120_000 });

beforeAll(async () => {
  world = World.create();
  await world.serveWan();
  firewalls = await Firewalls.start(world);
  await firewalls.sh('ufw default deny incoming; ufw default deny routed; ufw --force enable');
});
afterAll(() => world?.close());

test(
  'a guest gets out past ufw, also when it is loaded again and switched off and on',
  { timeout: 240_000 },
  async () => {
    const file = path.join(checkoutInside, 'assets/labs/seed.yaml');
    const up = await tapyard('up', file, '--scope', 'host');
    expect(up, `${up.stdout}\n${up.stderr}`).toMatchObject({ code: 0 });
    const shell = await GuestShell.open(world, 'guest', 'root', 60_000);
    const getsOut = async (when: string): Promise<void> => {
      for (const [how, command, answer] of [
        ['TCP', `timeout 3 wget -q -O - http://${wanAddress}/`, 'hello from wan1'],
        ['UDP', `(echo over udp; sleep 1) | nc -u -w 2 ${wanAddress} 7778`, 'over udp'],
        ['ping', `ping -c1 -W2 ${wanAddress}`, '1 packets received'],
      ] as const)
        await until(`${how} gets out ${when}`, 30_000, async () =>
          (await shell.run(command)).output.includes(answer),
        );
    };
    await getsOut('at first');
    const door = 'ufw, ip filter FORWARD: would drop it, lets it through';
    expect((await tapyard('topology')).stdout).toContain(`firewall ${door}`);
    expect((await tapyard('check')).stdout).toContain(door);
    await firewalls.sh('ufw reload');
    await getsOut('after a reload');
    await firewalls.sh('ufw disable; ufw --force enable');
    await getsOut('after it was off and on');
    await shell.close();
    expect(await tapyard('down', '--force')).toMatchObject({ code: 0 });
    expect(await firewalls.sh('nft list ruleset')).not.toContain('tapyard');
  },
);
