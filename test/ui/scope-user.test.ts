// SPDX-License-Identifier: Apache-2.0
import path from 'node:path';
import type { BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ErrorCode } from '../../electron/contract/error.ts';
import { z } from '../../electron/contract/zod.ts';
import { netdCapabilities } from '../../electron/core/net/host-scope.ts';
import { openServed } from '../world/browser.ts';
import { keeperOf } from '../world/keeper.ts';
import { kernelState } from '../world/kernel.ts';
import { theRunningGuest } from '../world/listed.ts';
import { installed, policy, policyNetd, PolkitSystem } from '../world/polkit.ts';
import { askToMove, movedTo } from '../world/scope-button.ts';
import { checkout, netdInside, until, World } from '../world/world.ts';

/*
 * The scope button over the real core of an ordinary user, whose lab runs with a real guest: each way to be refused,
 * and the move there and back by an installed helper that the user's group may run. The polkit and its pkexec are
 * real ones; only for the question that is closed, which an agent would have to ask, something stands in for pkexec.
 */

const file = `name: seed
networks:
  br0: { subnet: 192.168.57.0/24 }
guests:
  web: { image: micro, memory: 192M, nics: [{ network: br0, address: 192.168.57.2 }] }
`;
/** A move shuts a guest down and boots it, on a busy machine in half a minute. */
const patience = 90_000;

let world: World;
let system: PolkitSystem;
let browser: BrowserContext;
let page: Page;
let complaints: string[];
let before: Awaited<ReturnType<typeof kernelState>>;

beforeAll(async () => {
  world = World.create();
  system = await PolkitSystem.start(world);
  before = await kernelState(world);
  await world.must(system.asUser(world.tapyardCommand(['up', world.file('seed.yaml', file)])), {
    as: 'root',
    timeout: 90_000,
  });
  const serve = world.start(system.asUser(world.tapyardCommand(['serve'])), { as: 'root' });
  ({ browser, page, complaints } = await openServed(world, serve));
  await page.setViewportSize({ width: 1024, height: 700 });
  page.setDefaultTimeout(50_000);
});
afterAll(async () => {
  await browser?.close();
  world?.close();
});

/** The window in both colours, kept in test-results. */
async function pictures(name: string): Promise<void> {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: path.join(checkout, `test-results/${name}-${colorScheme}.png`) });
  }
}

const toHost = 'Its bridges and taps are then on this computer, which reaches the guests';
const toPrivate = 'nothing on this computer changes, no privilege is needed';

/** Asks for the host scope, is refused, and answers what the window says; the lab is as it was, with its guest. */
async function refused(code: ErrorCode, name: string): Promise<{ said: string; commands: string[] }> {
  const guest = (await theRunningGuest(world)).pid;
  const keeper = keeperOf(world);
  const agree = await askToMove(page, 'host', toHost);
  if (name === 'scope-denied') await pictures('scope-asked');
  await agree();
  const note = page.getByRole('alert', { name: 'Failures' }).getByRole('group', { name: 'Move seed failed' });
  await note.getByText(code, { exact: true }).waitFor();
  await pictures(name);
  const said = await note.innerText();
  const commands = await note.locator('pre code').allInnerTexts();
  expect(await note.getByRole('button', { name: 'Copy the commands' }).count()).toBe(
    await note.locator('pre').count(),
  );
  await note.getByRole('button', { name: 'Dismiss' }).click();
  await note.waitFor({ state: 'hidden' });
  await page.getByRole('button', { name: 'Move seed to the host scope' }).waitFor();
  expect((await theRunningGuest(world)).pid).toBe(guest);
  expect(keeperOf(world)).toBe(keeper);
  expect(await kernelState(world)).toEqual(before);
  return { said, commands };
}

const action = 'dev.tapyard.Tapyard.network';

test('not installed: the policy is named, and each command that brings what is missing', async () => {
  await system.root(`mv ${policy} /run/policy`);
  const { said, commands } = await refused('HOST_SCOPE_DENIED', 'scope-not-installed');
  await system.root(`mv /run/policy ${policy}`);
  expect(said).toContain(action);
  expect(said).toContain(`polkit could not ask you: ${policy} is missing, ${policyNetd} is missing.`);
  expect(commands).toContainEqual(
    expect.stringMatching(new RegExp(`^sudo install -D -m 0644 .* ${policy}$`)),
  );
  expect(commands).toContainEqual(
    expect.stringMatching(new RegExp(`^sudo install -D -m 0755 .* ${policyNetd}$`)),
  );
  expect(commands).toContain(`sudo setcap ${netdCapabilities} ${installed}`);
});

test('denied by polkit: the policy is named, and who can allow it', async () => {
  await system.root(`install -D -m 0755 ${netdInside} ${policyNetd}`);
  const { said } = await refused('HOST_SCOPE_DENIED', 'scope-denied');
  expect(said).toContain(`polkit does not allow you the host scope (${action})`);
  expect(said).toContain('An administrator can allow it, or let a group run the network helper');
});

test('dismissed: nothing is said of a denial, and how to be asked again', async () => {
  await system.root(`printf '#!/bin/sh\\nexit 126\\n' > /run/bin/pkexec; chmod 755 /run/bin/pkexec`);
  const { said } = await refused('HOST_SCOPE_DISMISSED', 'scope-dismissed');
  await system.root('rm /run/bin/pkexec');
  expect(said).toContain('The question for the host scope was closed.');
  expect(said).toContain(action);
  expect(said).toContain('Try again when you want');
});

const Links = z.array(z.looseObject({ ifname: z.string(), ifalias: z.string().optional() }));

/** The lab's bridge on the computer, as `ip -j` has it. */
async function bridge(): Promise<string | undefined> {
  const links = Links.parse(
    JSON.parse(await world.must(['ip', '-j', 'link', 'show', 'type', 'bridge'], { as: 'root' })),
  );
  return links.find(({ ifname }) => ifname === 'br0')?.ifalias;
}

test(
  'a member of the group moves the running lab there and back, and is asked by nobody',
  { timeout: 300_000 },
  async () => {
    await system.install();
    await system.root(`[ "$(stat -c %G ${installed})" = tapyard ]`);
    const agree = await askToMove(page, 'host', toHost);
    await page.getByText('1 guest will be asked to shut down').waitFor();
    await agree();
    await movedTo(page, 'host', '192.168.57.1/24', patience);
    expect(await until('br0 is on the computer', patience, bridge)).toBe(`tapyard:${world.uid}:seed:br0`);
    // Nothing listens there: that it says so is an answer of the guest's.
    await until('the computer reaches the guest', patience, async () => {
      const dialled = await world.run(['timeout', '2', 'bash', '-c', ': < /dev/tcp/192.168.57.2/9']);
      return dialled.stderr.includes('Connection refused');
    });
    await page.getByRole('group', { name: /^Guest web, running/ }).waitFor();

    await (
      await askToMove(page, 'private', toPrivate)
    )();
    await movedTo(page, 'private', '192.168.57.1/24', patience);
    await page.getByRole('group', { name: /^Guest web, running/ }).waitFor();
    // The old helper is told to take it away once the new scope is there.
    await until('br0 is gone from the computer', patience, async () => (await bridge()) === undefined);
    await expect.poll(() => kernelState(world), { timeout: patience }).toEqual(before);
    expect(complaints).toEqual([]);
  },
);
