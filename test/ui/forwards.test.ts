// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { fakePages, hasKeyboard } from '../fakes/fake-pages.ts';

// The forwards of a guest in the whole window, over the fake core.
const openPage = fakePages();

async function open(query: string): Promise<Page> {
  return await openPage({ width: 1440, height: 900, query: `window&lab=mock&${query}` });
}

describe('the forwards of a guest', () => {
  it('are listed, made by keyboard, and removed', async () => {
    const page = await open('select=guest:seed/web');
    const section = page.getByRole('region', { name: 'Forwards' });
    await section.getByText('127.0.0.1:8080 → 80').waitFor();
    await section.getByRole('button', { name: 'Add forward' }).press('Enter');
    const form = section.getByRole('form', { name: 'New forward to web' });
    // The first field has the keyboard.
    await page.keyboard.type('8080');
    await page.keyboard.press('Enter');
    await form.getByText('8080 is forwarded already.').waitFor();
    await page.keyboard.press('Control+A');
    await page.keyboard.type('2222');
    await page.keyboard.press('Tab');
    await page.keyboard.type('22');
    await form.getByLabel('Who reaches it').selectOption('0.0.0.0');
    await page.screenshot({ path: join(import.meta.dirname, '../../test-results/forwards-form.png') });
    await form.getByRole('button', { name: 'Forward' }).press('Enter');
    await section.getByText('0.0.0.0:2222 → 22').waitFor();
    await section.getByText('listening · open to the network').waitFor();
    expect(await form.count()).toBe(0);
    // What goes gives the keyboard back to the button that opened it.
    const add = section.getByRole('button', { name: 'Add forward' });
    await expect.poll(() => hasKeyboard(add)).toBe(true);
    await section.getByRole('button', { name: 'Remove forward 0.0.0.0:2222' }).press('Enter');
    await section.getByText('0.0.0.0:2222 → 22').waitFor({ state: 'detached' });
    await expect.poll(() => hasKeyboard(add)).toBe(true);
  });

  it('carry UDP from the network, beside TCP of the same port', async () => {
    const page = await open('select=guest:seed/web');
    const section = page.getByRole('region', { name: 'Forwards' });
    await section.getByRole('button', { name: 'Add forward' }).click();
    const form = section.getByRole('form', { name: 'New forward to web' });
    await form.getByLabel('Port here').fill('8080');
    await form.getByLabel('Protocol').selectOption('udp');
    await form.getByRole('button', { name: 'Forward' }).click();
    await form.getByText('UDP is led to guests from the network only.').waitFor();
    await form.getByLabel('Who reaches it').selectOption('0.0.0.0');
    await form.getByRole('button', { name: 'Forward' }).click();
    await section.getByText('0.0.0.0:8080/udp → 8080').waitFor();
    await section.getByRole('button', { name: 'Remove forward 0.0.0.0:8080/udp' }).click();
    await section.getByText('0.0.0.0:8080/udp → 8080').waitFor({ state: 'detached' });
    await section.getByText('127.0.0.1:8080 → 80').waitFor();
  });

  it('say what went wrong, and a guest without any says so', async () => {
    const page = await open('select=guest:seed/db&theme=light&failing=forward.add');
    const section = page.getByRole('region', { name: 'Forwards' });
    await section.getByText('No port of this computer leads to db.').waitFor();
    await section.getByRole('button', { name: 'Add forward' }).click();
    await page.keyboard.type('80x');
    await page.keyboard.press('Enter');
    await section.getByText('A port from 1 to 65535.').waitFor();
    await page.keyboard.press('Control+A');
    await page.keyboard.type('8081');
    await page.keyboard.press('Enter');
    await section.getByText('The kernel refused it: Operation not permitted.').waitFor();
    await page.screenshot({ path: join(import.meta.dirname, '../../test-results/forwards-error.png') });
    await section.getByRole('button', { name: 'Cancel' }).click();
    await section.getByRole('button', { name: 'Add forward' }).waitFor();
  });
});
