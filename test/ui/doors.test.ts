// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { fakePages } from '../fakes/fake-pages.ts';

// What other firewalls of the computer do to a network, in the whole window, over the fake core.
const openPage = fakePages();
const open = (query: string) => openPage({ width: 1440, height: 900, query: `window&${query}` });

describe('other firewalls in the inspector', () => {
  it('are named with their chain and what was done about them', async () => {
    const page = await open('lab=states&select=network:states/br0');
    const section = page.getByRole('region', { name: 'Other firewalls' });
    await section.waitFor();
    expect(await section.getByRole('term').allTextContents()).toEqual([
      'Docker',
      'firewalld',
      'ufw',
      'iptables',
    ]);
    expect(await section.getByRole('definition').allTextContents()).toEqual([
      'lets it through ip filter FORWARD',
      'was asked to let it through inet firewalld filter_FORWARD',
      'drops it ip filter INPUT',
      'may drop it, which is root’s to see iptables-legacy filter',
    ]);
    // The one that was not opened is told with what to type.
    await page.getByRole('complementary').getByText('Let it through yourself: ufw allow in on br0').waitFor();
  });

  it('are not there where none drops anything', async () => {
    const page = await open('lab=mock&select=network:seed/br0');
    await page.getByRole('region', { name: 'Ports' }).waitFor();
    expect(await page.getByRole('region', { name: 'Other firewalls' }).count()).toBe(0);
  });
});
