// SPDX-License-Identifier: Apache-2.0
import { build } from 'esbuild';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { askForPort, hereIsPort } from '../../electron/contract/port.ts';
import { launchChromium } from '../fakes/browser.ts';

let browser: Browser;
let preload: string;

beforeAll(async () => {
  const built = await build({
    entryPoints: ['electron/shell/preload.ts'],
    bundle: true,
    minify: true,
    platform: 'browser',
    format: 'cjs',
    external: ['electron'],
    write: false,
  });
  preload = built.outputFiles[0]?.text ?? '';
  browser = await launchChromium();
});
afterAll(() => browser.close());

/*
 * As much of `electron` as the preload uses: a message to the main process is answered by a port, whose other
 * end echoes. Ports and window messages are Chromium's own.
 */
const stub = `
  window.asked = [];
  const handlers = new Map();
  window.require = () => ({ ipcRenderer: {
    on: (name, handler) => handlers.set(name, handler),
    send: (name) => {
      window.asked.push(name);
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = ({ data }) => port1.postMessage(data);
      handlers.get(${JSON.stringify(hereIsPort)})({ ports: [port2] });
    },
  } });
`;

describe('the built preload in Chromium', () => {
  it('hands the page a port when it asks, and nothing to anybody else', async () => {
    const page = await browser.newPage();
    await page.route('**/*', (route) =>
      route.fulfill({
        body: '<!doctype html><iframe src="http://other.test/"></iframe>',
        contentType: 'text/html',
      }),
    );
    await page.addInitScript(`if (window === window.top) { ${stub} ${preload} }`);
    await page.goto('http://page.test/');
    const echoed = await page.evaluate(
      ([ask, here]) =>
        new Promise((resolve) => {
          window.addEventListener('message', ({ data, source, ports }) => {
            if (data !== here || source !== window) return;
            const [port] = ports;
            if (port === undefined) return;
            port.addEventListener('message', (event: MessageEvent<unknown>) => resolve(event.data));
            port.start();
            port.postMessage(new Uint8Array([1, 2, 3]));
          });
          window.postMessage(ask, location.origin);
        }),
      [askForPort, hereIsPort] as const,
    );
    expect(echoed).toEqual(new Uint8Array([1, 2, 3]));
    const asked = (): Promise<unknown> => page.evaluate('window.asked');
    expect(await asked()).toEqual([askForPort]);
    // A frame that asks the page's preload is not the page.
    const frame = page.frames().find((each) => each !== page.mainFrame());
    await frame?.evaluate((ask) => window.top?.postMessage(ask, '*'), askForPort);
    await page.evaluate((text) => window.postMessage(text, location.origin), 'anything else');
    expect(await asked()).toEqual([askForPort]);
    await page.close();
  });
});
