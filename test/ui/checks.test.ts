// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import type { Locator, Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { fakePages } from '../fakes/fake-pages.ts';

// The checks in the whole window, over the fake core: it does with a mend what polkit is made to answer.
const openPage = fakePages();

const shoot = (page: Page, name: string): Promise<unknown> =>
  page.screenshot({ path: join(import.meta.dirname, `../../test-results/${name}.png`) });

async function openChecks(theme: string): Promise<{ page: Page; row: Locator; mend: Locator }> {
  const page = await openPage({ width: 1440, height: 900, query: `window&lab=mock&theme=${theme}` });
  await page.getByRole('button', { name: 'Checks' }).click();
  const row = page.getByRole('listitem', { name: 'Host scope' });
  await row.waitFor();
  return { page, row, mend: row.getByRole('button', { name: 'Mend: Host scope' }) };
}

const names = (page: Page): Promise<string[]> =>
  page.getByRole('main').getByRole('heading', { level: 3 }).allTextContents();
const calls = (page: Page): Promise<unknown> =>
  page.evaluate(`fakeCore.calls.filter((call) => call.startsWith('check.'))`);

describe('a check that can be mended', () => {
  it('says what will be run and as whom, mends it by keyboard, and is fine then, in its place', async () => {
    const { page, row, mend } = await openChecks('dark');
    await row.getByText('sudo /usr/sbin/setcap cap_net_admin').waitFor();
    await row.getByText('Runs this as root for you, through polkit').waitFor();
    await shoot(page, 'checks-mendable-dark');
    const order = await names(page);
    expect(await calls(page)).toEqual([]);

    await mend.focus();
    await page.keyboard.press('Enter');
    await row.getByRole('status').getByText('polkit asks you now').waitFor();
    const pending = row.getByRole('button', { name: 'Mending… Host scope' });
    expect(await pending.getAttribute('aria-disabled')).toBe('true');
    expect(await pending.evaluate((button) => button === document.activeElement)).toBe(true);
    // One mend at a time.
    await page.keyboard.press('Enter');
    expect(await calls(page)).toEqual(['check.mend host-scope']);
    await shoot(page, 'checks-mending-dark');

    await page.evaluate('fakeCore.answerPolkit()');
    await row.getByText('fine', { exact: true }).waitFor();
    await row.getByText('nobody is asked').waitFor();
    expect(await row.getByRole('button').count()).toBe(0);
    expect(await names(page)).toEqual(order);
    // The keyboard stays where it was, and who listens hears of it.
    const heading = row.getByRole('heading', { name: 'Host scope' });
    expect(await heading.evaluate((element) => element === document.activeElement)).toBe(true);
    await page.getByText('Host scope is fine').waitFor({ state: 'attached' });
    await page.getByText('1 check of 3 to look at.').waitFor();
  });

  it('tells why it was not mended, until that is dismissed or tried again', async () => {
    const { page, row, mend } = await openChecks('light');
    await mend.click();
    await row.getByRole('status').getByText('polkit asks you now').waitFor();
    await page.evaluate(`fakeCore.answerPolkit({
      code: 'MEND_DISMISSED',
      message: 'The question was closed, and this was not run: /usr/sbin/setcap cap_net_admin,cap_net_raw,cap_net_bind_service+ep /usr/libexec/tapyard/host/tapyard-netd',
    })`);
    const alert = row.getByRole('alert');
    await alert.getByText('The question was closed').waitFor();
    await alert.getByText('polkit asks before anything is run as root').waitFor();
    await alert.getByText('tapyard check --mend').waitFor();
    await alert.getByText('MEND_DISMISSED').waitFor();
    await row.getByText('warning', { exact: true }).waitFor();
    await shoot(page, 'checks-dismissed-light');

    await alert.getByRole('button', { name: 'Dismiss' }).click();
    await alert.waitFor({ state: 'detached' });
    await mend.click();
    await row.getByRole('button', { name: 'Cancel' }).waitFor();
    await page.evaluate('fakeCore.answerPolkit()');
    await row.getByText('fine', { exact: true }).waitFor();
  });

  it('is still being mended for who leaves the page and comes back', async () => {
    const { page, row, mend } = await openChecks('dark');
    await mend.click();
    await row.getByRole('status').getByText('polkit asks you now').waitFor();
    await page.getByRole('button', { name: 'Map' }).click();
    await row.waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Checks' }).click();
    await row.getByRole('status').getByText('polkit asks you now').waitFor();
    await page.evaluate('fakeCore.answerPolkit()');
    await row.getByText('fine', { exact: true }).waitFor();
  });

  it('is only told where a person has to do it', async () => {
    const { page } = await openChecks('dark');
    const kvm = page.getByRole('listitem', { name: 'Hardware acceleration (KVM)' });
    await kvm.getByText('sudo dmesg').waitFor();
    expect(await kvm.getByRole('button', { name: /Mend/ }).count()).toBe(0);
  });
});
