// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GuestShell } from '../world/guest-shell.ts';
import { checkout, until, World } from '../world/world.ts';

/* A cable that is cut at the guest: its carrier goes and comes, whichever core is asked, and a start makes it whole. */

const seed = readFileSync(path.join(checkout, 'assets/labs/seed.yaml'), 'utf8');

let world: World;
beforeAll(async () => {
  world = World.create();
  const up = await world.tapyard(['up', world.file('tapyard.yaml', seed)], { timeout: 90_000 });
  expect(up, up.stderr).toMatchObject({ code: 0 });
});
afterAll(async () => {
  await world?.tapyard(['down', '--force']);
  world?.close();
});

async function inGuest<T>(look: (shell: GuestShell) => Promise<T>): Promise<T> {
  const shell = await GuestShell.open(world, 'guest');
  try {
    return await look(shell);
  } finally {
    await shell.close();
  }
}

/** The carrier as the guest's kernel has it, and whether its gateway answers. */
const seen = (): Promise<{ carrier: string; pings: boolean }> =>
  inGuest(async (shell) => ({
    carrier: (await shell.run('cat /sys/class/net/eth0/carrier')).output.trim(),
    pings: await shell.pings('192.168.57.1'),
  }));

async function link(...words: string[]): Promise<string> {
  const done = await world.tapyard(['link', 'guest', ...words]);
  expect(done, done.stderr).toMatchObject({ code: 0 });
  return done.stdout;
}

test('the guest loses its carrier and gets it back', async () => {
  expect(await seen()).toEqual({ carrier: '1', pings: true });
  expect(await link('down')).toBe('eth0 of guest is down.\n');
  expect(await seen()).toEqual({ carrier: '0', pings: false });
  // Each command has a core of its own here: what one did, the next one knows.
  expect(await link('down', '0')).toBe('eth0 of guest was down already.\n');
  expect(await link('up')).toBe('eth0 of guest is up.\n');
  expect(await seen()).toEqual({ carrier: '1', pings: true });
  expect(await link('up')).toBe('eth0 of guest was up already.\n');
});

test('a start makes it whole, and what is not there is named', async () => {
  await link('down');
  expect(await world.tapyard(['force-off', 'guest'])).toMatchObject({ code: 0 });
  const off = await world.tapyard(['link', 'guest', 'down']);
  expect(off).toMatchObject({ code: 1 });
  expect(off.stderr).toContain('seed/guest is shut off and NIC 0 hangs on no cable.');
  expect(await world.tapyard(['start', 'guest'])).toMatchObject({ code: 0 });
  expect(await link('up')).toBe('eth0 of guest was up already.\n');
  await until('the guest is back on its network', 60_000, () =>
    inGuest((shell) => shell.pings('192.168.57.1')),
  );
  for (const nic of ['1', 'eth0']) {
    const wrong = await world.tapyard(['link', 'guest', 'down', nic]);
    expect(wrong).toMatchObject({ code: 1 });
    expect(wrong.stderr).toContain('seed/guest has no such NIC.');
  }
});
