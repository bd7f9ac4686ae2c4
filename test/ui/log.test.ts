// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { expect, it } from 'vitest';
import { fakePages } from '../fakes/fake-pages.ts';

// What the network helper did, in the whole window, over the fake core.
const openPage = fakePages();

async function open(query: string, size = { width: 1440, height: 900 }): Promise<Page> {
  const page = await openPage({ ...size, query: `window&lab=mock&${query}` });
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  // By keyboard, as from anywhere.
  await page.keyboard.press('Alt+4');
  await page.getByRole('heading', { name: 'Log', level: 1 }).waitFor();
  return page;
}

const shoot = (page: Page, name: string): Promise<unknown> =>
  page.screenshot({ path: join(import.meta.dirname, `../../test-results/${name}.png`) });

it('shows who did what, by which command, the newest at the bottom, and goes on', async () => {
  const page = await open('acts=40&theme=dark');
  const list = page.getByRole('list', { name: 'What the network helper did for seed' });
  const lines = list.getByRole('listitem');
  await expect.poll(() => lines.count()).toBe(49);
  const last = lines.last();
  await expect.poll(() => last.textContent()).toContain('follows the way out from eth0 to wg0');
  expect(await last.textContent()).toContain('helper: the way out changed');
  const atEnd = (): Promise<boolean> =>
    list.evaluate((element) => element.scrollHeight - element.scrollTop - element.clientHeight < 4);
  await expect.poll(atEnd).toBe(true);
  await shoot(page, 'log-dark');

  // What comes is at the bottom, and in sight.
  await page.evaluate('fakeCore.acts.change(moreActs())');
  await expect.poll(() => lines.count()).toBe(50);
  await expect.poll(atEnd).toBe(true);

  // Whoever reads further up stays there.
  await list.evaluate((element) => element.scrollTo(0, 0));
  const top = lines.first();
  await expect.poll(() => top.isVisible()).toBe(true);
  expect(await atEnd()).toBe(false);
});

it('has a filter, copies commands, unfolds long ones, and names the policy of a refusal', async () => {
  const page = await open('acts&theme=light', { width: 1024, height: 700 });
  const filter = page.getByRole('searchbox', { name: 'Filter the log' });
  const lines = page.getByRole('main').getByRole('listitem');
  await expect.poll(() => lines.count()).toBe(9);
  await shoot(page, 'log-light');
  await filter.fill('NFT filter');
  await expect.poll(() => lines.count()).toBe(2);
  await page.getByText('2 of 9 acts.').waitFor();
  await lines.first().getByRole('group').locator('summary').press('Enter');
  await lines.first().getByText('set s59 { }').waitFor();
  await filter.fill('nat_off');
  await expect.poll(() => lines.count()).toBe(1);
  await lines.getByRole('button', { name: 'Copy the command' }).press('Enter');
  await lines.getByRole('button', { name: 'the command copied' }).waitFor();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  expect(copied).toBe(`nft add element inet tapyard_1000 nat_off '{ "br0" }'`);
  await filter.fill('failed');
  await page.getByText('/etc/tapyard/netd.conf says who may put guests').waitFor();
  await page.getByText('allow-bridge ada br-lan').waitFor();
  await page.getByText('BRIDGE_NOT_ALLOWED').waitFor();
  await shoot(page, 'log-refused');
  await filter.fill('no such thing');
  await page.getByText('None of 9 acts has that in it.').waitFor();
  await filter.press('Escape');
  await expect.poll(() => lines.count()).toBe(9);
});

it('says that nothing was done yet', async () => {
  const page = await open('theme=dark', { width: 1024, height: 700 });
  await page.getByText('The network helper has done nothing for seed yet.').waitFor();
  await shoot(page, 'log-empty');
});
