// SPDX-License-Identifier: Apache-2.0
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';

/** Debian's Chromium, or the one that the environment names. */
const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium';

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
};

/** Starts a Chromium without window that talks to nobody. */
export function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

/** What a page of the fake core is opened with. */
export interface FakePage {
  readonly width: number;
  readonly height: number;
  /** Such as `lab=mock&theme=dark`. */
  readonly query: string;
  readonly reducedMotion?: 'reduce' | 'no-preference';
}

/**
 * Opens the built fake page (`vite build test/fakes/page`) from the folder `built`, without any network: requests
 * are answered from the folder. What the page reports as an error goes to `onError`.
 */
export async function openFakePage(
  browser: Browser,
  built: string,
  options: FakePage,
  onError: (text: string) => void,
): Promise<{ page: Page; context: BrowserContext }> {
  const { width, height, query, reducedMotion = 'no-preference' } = options;
  const context = await browser.newContext({ viewport: { width, height }, reducedMotion });
  await context.route('**/*', async (route) => {
    const path = normalize(new URL(route.request().url()).pathname).replace(/^\/$/, '/index.html');
    try {
      const body = await readFile(join(built, path));
      await route.fulfill({ body, contentType: types[extname(path)] ?? 'application/octet-stream' });
    } catch {
      await route.fulfill({ status: 404, body: 'not found' });
    }
  });
  const page = await context.newPage();
  page.on('pageerror', (error) => onError(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') onError(message.text());
  });
  await page.goto(`http://fake.localhost/?${query}`);
  await page.waitForSelector('.map-node, .map-far, [role=tree]', { timeout: 20_000 });
  return { page, context };
}
