// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CheckResult } from '../../electron/contract/rows.ts';
import { z } from '../../electron/contract/zod.ts';
import { GuestShell } from '../world/guest-shell.ts';
import { checkout, wanAddress, World } from '../world/world.ts';

const seed = readFileSync(path.join(checkout, 'assets/labs/seed.yaml'), 'utf8');

/** One result of `tapyard check --json`. */
type Check = z.infer<typeof CheckResult>;

describe('a host whose net.ipv4.ping_group_range is "1 0", the kernel’s default in a new namespace', () => {
  let world: World;
  let shell: GuestShell;

  const pingCheck = async (): Promise<Check | undefined> => {
    const { stdout } = await world.tapyard(['check', '--json']);
    return z
      .array(CheckResult)
      .parse(JSON.parse(stdout))
      .find(({ id }) => id === 'ping');
  };

  beforeAll(async () => {
    world = World.create({ pingGroupRange: '1 0' });
    await world.serveWan();
    const up = await world.tapyard(['up', world.file('tapyard.yaml', seed)], { timeout: 90_000 });
    expect(up, `${up.stdout}\n${up.stderr}`).toMatchObject({ code: 0 });
    shell = await GuestShell.open(world, 'guest');
  });
  afterAll(async () => {
    await shell?.close();
    await world?.tapyard(['down', '--force']);
    world?.close();
  });

  test('the guest reaches the internet by TCP, UDP and name', async () => {
    const web = async (name: string): Promise<string> =>
      (await shell.run(`timeout 3 wget -q -O - http://${name}/`)).output;
    expect(await web(wanAddress)).toContain('hello from wan1');
    expect(await web('internet.example')).toContain('hello from wan1');
    expect((await shell.run(`(echo over udp; sleep 1) | nc -u -w 2 ${wanAddress} 7778`)).output).toContain(
      'over udp',
    );
  });

  test('its pings stay on the bridge, and check says why and what to do', async () => {
    expect(await shell.pings('192.168.57.1')).toBe(true);
    expect(await shell.pings(wanAddress)).toBe(false);
    const check = await pingCheck();
    expect(check).toMatchObject({ state: 'warning' });
    expect(check?.found).toMatch(/ping_group_range is "1 0".*no group at all/);
    expect(check?.fixes[0]?.command).toBe('sudo sysctl -w net.ipv4.ping_group_range="0 2147483647"');
  });

  test('what check says mends it, without bringing the lab down', async () => {
    await world.must(['sysctl', '-qw', 'net.ipv4.ping_group_range=0 2147483647'], { as: 'root' });
    expect(await pingCheck()).toMatchObject({ state: 'ok' });
    expect(await shell.pings(wanAddress)).toBe(true);
  });
});
