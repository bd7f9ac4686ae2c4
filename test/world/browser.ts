// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import { chownSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { checkout, firstWords, type Who, type World } from './world.ts';

/** Flags that keep Chromium off the network and off a GPU that is not there. */
const flags = [
  '--headless',
  '--no-sandbox', // its own sandbox needs more than a container may give; the page is ours
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
];

/**
 * A real Chromium inside the world, run by who runs `tapyard serve`, its ordinary user unless told otherwise: that
 * answers only its own uid, on the loopback of its own namespace.
 */
export async function openBrowser(
  world: World,
  options: { as?: Who; colorScheme?: 'dark' | 'light'; width?: number; height?: number } = {},
): Promise<BrowserContext> {
  const who = options.as ?? 'user';
  const uid = who === 'root' ? 0 : world.uid;
  const profile = path.join(world.home(who), `chromium-${Date.now()}`);
  mkdirSync(profile, { mode: 0o700 });
  chownSync(profile, uid, uid);
  const wrapper = path.join(world.dir, 'chromium');
  const command = [
    path.join(checkout, 'test/world/enter.sh'),
    world.hostNetns,
    String(uid),
    path.join(world.dir, 'etc'),
    checkout,
    'env',
    `HOME=${world.home(who)}`,
    `XDG_RUNTIME_DIR=${world.runtimeDir(who)}`,
    'chromium',
  ];
  const quoted = command.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
  writeFileSync(wrapper, `#!/bin/sh\nexec ${quoted} "$@"\n`, { mode: 0o755 });
  return chromium.launchPersistentContext(profile, {
    executablePath: wrapper,
    args: flags,
    headless: true,
    chromiumSandbox: false,
    colorScheme: options.colorScheme ?? 'dark',
    viewport: { width: options.width ?? 1440, height: options.height ?? 900 },
    timeout: 30_000,
  });
}

/** A window of `tapyard serve`, and what its page complained of. */
export interface ServedWindow {
  readonly browser: BrowserContext;
  readonly page: Page;
  readonly complaints: string[];
}

/** Opens the address that a `tapyard serve` prints, which `as` has started. */
export async function openServed(
  world: World,
  serve: ChildProcess,
  options: { as?: Who } = {},
): Promise<ServedWindow> {
  const [address = ''] = (await firstWords(serve, 'serve')).split('\n');
  const browser = await openBrowser(world, options);
  const page = browser.pages()[0] ?? (await browser.newPage());
  const complaints: string[] = [];
  page.on('console', (message) => {
    // noVNC writes that on the console when a screen goes while it connects; the pane says it to the user.
    if (message.type() === 'error' && !message.text().startsWith('Failed when connecting: '))
      complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  await page.goto(address);
  return { browser, page, complaints };
}
