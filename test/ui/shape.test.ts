// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { fakePages, hasKeyboard } from '../fakes/fake-pages.ts';

// The bandwidth, delay and loss of a NIC in the whole window, over the fake core.
const openPage = fakePages();

async function open(query: string): Promise<Page> {
  return await openPage({ width: 1440, height: 900, query: `window&lab=mock&${query}` });
}

describe('the shape of a NIC', () => {
  it('is checked as it is typed, set by keyboard, shown and taken off', async () => {
    const page = await open('select=guest:seed/web');
    const section = page.getByRole('region', { name: 'Network', exact: true });
    await section.getByRole('button', { name: 'Bandwidth, delay, loss… of eth0' }).press('Enter');
    const form = section.getByRole('form', { name: 'Shape of eth0 of web' });
    // The first field has the keyboard.
    await page.keyboard.type('10');
    await form.getByText('Not a rate such as 512kbit, 10mbit or 1gbit, from 8kbit to 10gbit.').waitFor();
    await page.keyboard.type('mbit');
    await form.getByLabel('Jitter').fill('5ms');
    await form.getByText('A jitter is of a delay, and there is none.').waitFor();
    await form.getByLabel('Delay').fill('20ms');
    await page.screenshot({ path: join(import.meta.dirname, '../../test-results/shape-form.png') });
    await form.getByLabel('Delay').press('Enter');
    await section.getByText('10mbit, 20ms ± 5ms').waitFor();
    expect(await form.count()).toBe(0);
    const opener = section.getByRole('button', { name: 'Bandwidth, delay, loss… of eth0' });
    await expect.poll(() => hasKeyboard(opener)).toBe(true);

    await section.getByRole('button', { name: 'Bandwidth, delay, loss… of eth0' }).click();
    for (const field of ['Bandwidth', 'Delay', 'Jitter']) await form.getByLabel(field).fill('');
    await form.getByRole('button', { name: 'Apply' }).click();
    await section.getByText('10mbit, 20ms ± 5ms').waitFor({ state: 'detached' });
  });

  it.each(['dark', 'light'])('is marked on its cable, which says what it is held to (%s)', async (theme) => {
    const page = await open(`select=guest:seed/db&theme=${theme}`);
    const section = page.getByRole('region', { name: 'Network', exact: true });
    const set = async (rate: string, delay: string): Promise<void> => {
      await section.getByRole('button', { name: 'Bandwidth, delay, loss… of eth0' }).click();
      const form = section.getByRole('form', { name: 'Shape of eth0 of db' });
      await form.getByLabel('Bandwidth').fill(rate);
      await form.getByLabel('Delay').fill(delay);
      await form.getByRole('button', { name: 'Apply' }).click();
      await form.waitFor({ state: 'detached' });
    };
    const map = page.getByRole('main');
    const mark = map.getByRole('img', { name: 'tap1 to eth0 of db, held to 10mbit, 20ms' });
    expect(await mark.count()).toBe(0);
    await set('10mbit', '20ms');
    await mark.waitFor();
    await map.getByRole('button', { name: 'Port tap1, eth0 of db, held to 10mbit, 20ms' }).waitFor();
    await page.screenshot({ path: join(import.meta.dirname, `../../test-results/shape-map-${theme}.png`) });
    await set('', '');
    await mark.waitFor({ state: 'detached' });
  });

  it('that is refused says why', async () => {
    const page = await open('select=guest:seed/web&theme=light&failing=guest.setShape');
    const section = page.getByRole('region', { name: 'Network', exact: true });
    await section.getByRole('button', { name: 'Bandwidth, delay, loss… of eth0' }).click();
    const form = section.getByRole('form', { name: 'Shape of eth0 of web' });
    await form.getByLabel('Loss').fill('1%');
    await form.getByRole('button', { name: 'Apply' }).click();
    await form.getByText('The NIC was not shaped').waitFor();
  });
});
