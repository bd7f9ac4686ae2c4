// SPDX-License-Identifier: Apache-2.0
import { chownSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type BrowserContext, chromium } from 'playwright-core';
import { checkout, type World } from './world.ts';

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
 * A real Chromium inside the world, run by its ordinary user: `tapyard serve` answers only its own uid, on the
 * loopback of its own namespace.
 */
export async function openBrowser(
  world: World,
  options: { colorScheme?: 'dark' | 'light'; width?: number; height?: number } = {},
): Promise<BrowserContext> {
  const profile = path.join(world.home('user'), `chromium-${Date.now()}`);
  mkdirSync(profile, { mode: 0o700 });
  chownSync(profile, world.uid, world.uid);
  const wrapper = path.join(world.dir, 'chromium');
  const command = [
    path.join(checkout, 'test/world/enter.sh'),
    world.hostNetns,
    String(world.uid),
    path.join(world.dir, 'etc'),
    checkout,
    'env',
    `HOME=${world.home('user')}`,
    `XDG_RUNTIME_DIR=${world.runtimeDir('user')}`,
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
