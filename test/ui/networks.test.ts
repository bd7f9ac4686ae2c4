// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { fakePages } from '../fakes/fake-pages.ts';

// Networks and NICs that are added, edited and removed in the whole window, over the fake core.
const openPage = fakePages();

async function open(query: string, size = { width: 1440, height: 900 }): Promise<Page> {
  return await openPage({ ...size, query: `window&${query}` });
}

const shoot = (page: Page, name: string): Promise<unknown> =>
  page.screenshot({ path: join(import.meta.dirname, `../../test-results/${name}.png`) });

describe('networks', () => {
  it('are added from the header by keyboard, checked as one types', async () => {
    const page = await open('lab=mock&theme=dark');
    await page.getByRole('button', { name: 'Add network' }).press('Enter');
    const dialog = page.getByRole('dialog', { name: 'Add a network to seed' });
    await dialog.getByLabel('Subnet').waitFor();
    await expect.poll(() => dialog.getByLabel('Subnet').inputValue()).toBe('10.73.5.0/24');
    // The first field has the keyboard, and its suggestion is selected.
    await page.keyboard.type('br0');
    await dialog.getByText('there is a network br0 already').waitFor();
    await page.keyboard.press('Control+A');
    await page.keyboard.type('lab-net');
    await dialog.getByLabel('Subnet').fill('192.168.57.0/25');
    await dialog.getByText('it overlaps 192.168.57.0/24 of br0').waitFor();
    await dialog.getByLabel('Mode').selectOption('routed');
    await dialog.getByText('a routed network needs the host scope').waitFor();
    await dialog
      .getByLabel('Reached from the LAN')
      .selectOption({ label: 'By proxy ARP: the subnet is a part of its own' });
    await dialog.getByText('answers the LAN’s ARP for its guests').waitFor();
    await dialog.getByLabel('Subnet').fill('10.0.4.0/22');
    await dialog.getByText('a part of the LAN’s subnet, of 256 addresses at most').waitFor();
    await shoot(page, 'network-errors');
    // What is wrong is where the keyboard goes.
    await dialog.getByRole('button', { name: 'Add network' }).press('Enter');
    await expect
      .poll(() => page.evaluate(() => document.activeElement?.getAttribute('aria-invalid')))
      .toBe('true');
    await dialog.getByLabel('Mode').selectOption('bridged');
    await dialog
      .getByLabel('Guests are on')
      .selectOption({ label: 'An interface that this computer has no use for' });
    await dialog.getByRole('combobox', { name: 'Interface' }).fill('lab-net');
    await dialog.getByText('the network’s own bridge has that name').waitFor();
    await shoot(page, 'network-interface');
    await dialog.getByLabel('Mode').selectOption('isolated');
    await dialog.getByLabel('Subnet').fill('10.0.4.0/22');
    await dialog.getByText('Its guests will not reach 10.0.4.0/24').waitFor();
    await dialog.getByLabel('DHCP').selectOption('range');
    expect(await dialog.getByLabel('From').inputValue()).toBe('10.0.6.0');
    await shoot(page, 'network-new');
    await dialog.getByLabel('Subnet').press('Enter');
    await dialog.waitFor({ state: 'detached' });
    await page.getByRole('heading', { name: 'lab-net', level: 2 }).waitFor();
    await page.getByText('10.0.4.0/22').first().waitFor();
  });

  it('are edited in the inspector, which says what becomes of the guests', async () => {
    const page = await open('lab=mock&select=network:seed/br0&theme=light');
    await page.getByRole('button', { name: 'Edit br0' }).click();
    const dialog = page.getByRole('dialog', { name: 'Edit br0' });
    await dialog.getByLabel('Subnet').fill('10.8.0.0/24');
    const notes = dialog.getByRole('list', { name: 'What it does to guests' });
    await notes.getByText('web moves to 10.8.0.2.').waitFor();
    await notes.getByText('reboot them').waitFor();
    await shoot(page, 'network-edit');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.waitFor({ state: 'detached' });
    await page.getByText('10.8.0.0/24').first().waitFor();
  });

  it('say what went wrong, and what was typed stays', async () => {
    const page = await open('lab=mock&failing=network.create');
    await page.keyboard.press('Alt+B');
    const dialog = page.getByRole('dialog', { name: 'Add a network to seed' });
    await expect.poll(() => dialog.getByLabel('Subnet').inputValue()).not.toBe('');
    await dialog.getByRole('button', { name: 'Add network' }).click();
    await dialog.getByRole('alert').getByText('The kernel refused it: Operation not permitted.').waitFor();
    expect(await dialog.getByLabel('Subnet').inputValue()).toBe('10.73.5.0/24');
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
  });

  it('are removed after a question, once nobody is on them', async () => {
    const page = await open('lab=mock&select=network:seed/br1', { width: 1024, height: 700 });
    const remove = page.getByRole('button', { name: 'Remove br1' });
    expect(await remove.getAttribute('aria-disabled')).toBe('true');
    await page.keyboard.press('Tab');
    await remove.focus();
    await page.getByRole('tooltip').getByText('router has a NIC on it').waitFor();
    await shoot(page, 'network-in-use');
    await page.evaluate(`fakeCore.patchGuest('seed/router', { nics: [] })`);
    await expect.poll(() => remove.getAttribute('aria-disabled')).toBe(null);
    await remove.click();
    const question = page.getByRole('alertdialog', { name: 'Remove br1?' });
    await question.getByText('br1 leaves the lab file, and the bridge br1').waitFor();
    await question.getByRole('button', { name: 'Remove' }).click();
    await question.waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Remove br1' }).waitFor({ state: 'detached' });
  });

  it('of each mode say on the map what they do to their guests, and are offered to new ones', async () => {
    const page = await open('lab=modes');
    const map = page.getByRole('application', { name: /Map of modes/ });
    for (const says of [
      /^NAT, On\. Guests of br0 reach the internet/,
      /^Routed\. Guests of br1 have addresses of the LAN: proxy ARP on wlp3s0/,
      /^Isolated\. br2 is isolated/,
      /^Bridged\. Guests of br3 are on the network behind eth1/,
    ])
      await map.getByRole('group', { name: says }).waitFor();
    await shoot(page, 'network-modes');
    await page.getByRole('button', { name: 'New guest' }).click();
    const offered = page.getByRole('dialog').getByLabel('Network').getByRole('option');
    await offered.first().waitFor({ state: 'attached' });
    expect(await offered.allTextContents()).toEqual([
      'br0 · 192.168.57.0/24',
      'br1 · 10.0.4.64/28',
      'br2 · 10.73.5.0/24',
      'br3 · eth1',
      'none',
    ]);
  });

  it('that a lab has none of yet are offered on the map', async () => {
    const page = await open('lab=nothing');
    const notice = page.getByRole('status').filter({ hasText: 'No networks yet.' });
    await shoot(page, 'networks-none');
    await notice.getByRole('button', { name: 'Add network' }).click();
    await page.getByRole('dialog', { name: 'Add a network to seed' }).waitFor();
  });
});

describe('NICs', () => {
  it('are added and removed while the guest is off', async () => {
    const page = await open('lab=mock&select=guest:seed/web');
    const section = page.getByRole('region', { name: 'Network' });
    const add = section.getByRole('button', { name: 'Add NIC' });
    await page.getByRole('button', { name: 'Force off web' }).click();
    await section.getByText('no lease yet').waitFor({ state: 'detached' });
    await add.press('Enter');
    const form = section.getByRole('form', { name: 'New NIC of web' });
    await form.getByLabel('Network').selectOption('br1');
    await form.getByLabel('Address').fill('10.10.0.1');
    await form.getByText('10.10.0.1 is taken by the bridge br1').waitFor();
    await shoot(page, 'nic-new');
    await form.getByLabel('Address').fill('');
    await form.getByRole('button', { name: 'Add NIC' }).click();
    await form.waitFor({ state: 'detached' });
    await section.getByText('eth1 ↔').waitFor();
    await shoot(page, 'nics');
    await section.getByRole('button', { name: 'Remove NIC eth0' }).click();
    await section.getByText('eth1 ↔').waitFor({ state: 'detached' });
  });

  it('are plugged into a guest that runs and unplugged, and the map has their cables', async () => {
    const page = await open('lab=mock&select=guest:seed/web');
    const section = page.getByRole('region', { name: 'Network' });
    await section.getByRole('button', { name: 'Add NIC' }).press('Enter');
    const form = section.getByRole('form', { name: 'New NIC of web' });
    await form.getByText('Plugged in at once.').waitFor();
    await form.getByLabel('Network').selectOption('br1');
    // What lasts for a moment is waited for before it can come.
    await Promise.all([
      form.getByRole('button', { name: 'Plugging in…' }).waitFor(),
      form.getByRole('button', { name: 'Add NIC' }).click(),
    ]);
    await form.waitFor({ state: 'detached' });
    const cable = await section.getByText(/^eth1 ↔ tap\d+$/).textContent();
    const tap = /tap\d+/.exec(cable ?? '')?.[0] ?? '';
    const port = page.getByRole('button', { name: `Port ${tap}, eth1 of web` });
    await port.waitFor();
    await Promise.all([
      section.getByText('Waiting until web lets go of eth1…').waitFor(),
      section.getByRole('button', { name: 'Remove NIC eth1' }).click(),
    ]);
    await section.getByText('eth1 ↔').waitFor({ state: 'detached' });
    await port.waitFor({ state: 'detached' });
  });

  it('that the guest does not let go of are told where they are', async () => {
    const page = await open('lab=mock&select=guest:seed/web&failing=guest.removeNic');
    const section = page.getByRole('region', { name: 'Network' });
    await section.getByRole('button', { name: 'Remove NIC eth0' }).click();
    await section.getByRole('group', { name: 'The NIC was not removed' }).waitFor();
    await section.getByText('eth0 ↔').waitFor();
  });
});
