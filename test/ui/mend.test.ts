// SPDX-License-Identifier: Apache-2.0
import type { BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openServed } from '../world/browser.ts';
import { commands, installed, names, PolkitSystem } from '../world/polkit.ts';
import { World } from '../world/world.ts';

/* The Mend button over the real core of an ordinary user, and the real pkexec with a polkit of the test's own. */

let world: World;
let system: PolkitSystem;
let browser: BrowserContext;
let page: Page;
let complaints: string[];

beforeAll(async () => {
  world = World.create();
  system = await PolkitSystem.start(world);
  await system.install();
  await system.root(`setcap -r ${installed}; touch /run/refuse`);
  // Without a lab the window has no checks.
  await world.must(system.asUser(world.tapyardCommand(['up', world.file('seed.yaml', 'name: seed\n')])), {
    as: 'root',
  });
  const serve = world.start(system.asUser(world.tapyardCommand(['serve'])), { as: 'root' });
  ({ browser, page, complaints } = await openServed(world, serve));
});
afterAll(async () => {
  await browser?.close();
  world?.close();
});

// All of the checks are made, and again after each mend: on a busy machine they take their time.
const patience = 50_000;

test(
  'the button gives the installed helper back what it lost, where polkit allows it',
  { timeout: 180_000 },
  async () => {
    page.setDefaultTimeout(patience);
    await page.getByRole('button', { name: 'Checks', exact: true }).click();
    const row = page.getByRole('listitem', { name: 'Host scope' });
    const mend = row.getByRole('button', { name: 'Mend: Host scope' });
    await row.getByText(`sudo ${commands.setcap}`).waitFor();
    await mend.click();
    await row.getByRole('alert').getByText('polkit does not allow it').waitFor();
    expect(await system.kept()).toEqual(['tapyard 750']);

    await system.root('rm /run/refuse; touch /run/allow');
    await mend.click();
    await row.getByText('fine', { exact: true }).waitFor();
    expect(await system.kept()).toEqual(['tapyard 750', `${installed} ${names}=ep`]);
    expect(await row.getByRole('button').count()).toBe(0);
    expect(complaints).toEqual([]);
  },
);
