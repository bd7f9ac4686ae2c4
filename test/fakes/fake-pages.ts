// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import type { Browser, BrowserContext, Locator, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { build } from 'vite';
import { type FakePage, launchChromium, openFakePage } from './browser.ts';

/**
 * Builds the fake page and starts a browser for the tests of a file; answers what opens a page. After each test its
 * pages are closed, and fail it where one complained.
 */
export function fakePages(): (options: FakePage) => Promise<Page> {
  const built = join(import.meta.dirname, '../../dist/fake');
  const contexts: BrowserContext[] = [];
  const errors: string[] = [];
  let browser: Browser;
  beforeAll(async () => {
    await build({ root: join(import.meta.dirname, 'page'), logLevel: 'error' });
    browser = await launchChromium();
  });
  afterAll(() => browser.close());
  afterEach(async () => {
    for (const context of contexts.splice(0)) await context.close();
    expect(errors.splice(0)).toEqual([]);
  });
  return async (options) => {
    const { page, context } = await openFakePage(browser, built, options, (text) => errors.push(text));
    contexts.push(context);
    return page;
  };
}

/** Whether what is typed goes there. */
export const hasKeyboard = (element: Locator): Promise<boolean> =>
  element.evaluate((node) => node === document.activeElement);
