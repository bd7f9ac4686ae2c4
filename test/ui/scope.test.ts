// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { build } from 'vite';
import { launchChromium, openFakePage } from '../fakes/browser.ts';

const built = join(import.meta.dirname, '../../dist/fake');
let browser: Browser;

beforeAll(async () => {
  await build({ root: join(import.meta.dirname, '../fakes/page'), logLevel: 'error' });
  browser = await launchChromium();
});
afterAll(() => browser.close());

describe('the scope of a lab', () => {
  it('is moved by its button, which first says what that means', async () => {
    const errors: string[] = [];
    const options = { width: 1440, height: 900, query: 'window&lab=mock&theme=light' };
    const { page, context } = await openFakePage(browser, built, options, (text) => errors.push(text));
    const pill = page.getByRole('button', { name: 'Move seed to the host scope' });
    expect(await pill.textContent()).toBe('Private scope · no root');
    const box = await pill.boundingBox();
    expect(box?.height).toBeGreaterThanOrEqual(24);
    await pill.press('Enter');
    const question = page.getByRole('alertdialog').or(page.getByRole('dialog'));
    await question.getByText('Refused, nothing changes.').waitFor();
    await question.getByText('3 guests will be asked to shut down').waitFor();
    await page.screenshot({ path: join(import.meta.dirname, '../../test-results/scope-question.png') });
    await question.getByRole('button', { name: 'Move to the host scope' }).click();
    await page.getByRole('button', { name: 'Move seed to the private scope' }).waitFor();
    expect(await page.getByRole('button', { name: 'Move seed to the private scope' }).textContent()).toBe(
      'Host scope',
    );
    await context.close();
    expect(errors).toEqual([]);
  });

  it('tells in full what the user is asked elsewhere, while it is asked', async () => {
    const errors: string[] = [];
    const options = { width: 1440, height: 900, query: 'window&lab=mock&trouble=asked' };
    const { page, context } = await openFakePage(browser, built, options, (text) => errors.push(text));
    await page.getByRole('status').getByText('polkit asks you for a password.').waitFor();
    await context.close();
    expect(errors).toEqual([]);
  });
});
