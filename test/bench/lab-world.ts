// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { BrowserContext, Page } from 'playwright-core';
import { openBrowser } from '../world/browser.ts';
import { World } from '../world/world.ts';

/** Until the page shows something, ms. */
const pageDeadline = 30_000;

/** A world whose user has a lab up, in the private scope, beside a core that stays: that of `tapyard serve`. */
export interface LabWorld {
  readonly world: World;
  /** A Chromium with the window in its first page; serve hosts the core from its start, visited or not. */
  readonly browser: BrowserContext;
  readonly page: Page;
  readonly close: () => Promise<void>;
}

async function firstLine(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error('it has no output');
  const deadline = setTimeout(() => child.kill('SIGKILL'), 20_000);
  try {
    for await (const line of createInterface({ input: child.stdout })) return line;
    throw new Error('tapyard serve printed no address');
  } finally {
    clearTimeout(deadline);
  }
}

/** Starts serve, visits it, and brings up the lab of `file` (YAML), beside which `more` files lie. */
export async function labWorld(
  file: string,
  more: Readonly<Record<string, Uint8Array>> = {},
): Promise<LabWorld> {
  const world = World.create();
  let browser: BrowserContext | undefined;
  const close = async (): Promise<void> => {
    await browser?.close();
    world.close();
  };
  try {
    const address = await firstLine(world.start(world.tapyardCommand(['serve'])));
    browser = await openBrowser(world);
    const page = browser.pages()[0] ?? (await browser.newPage());
    await page.goto(address, { timeout: pageDeadline });
    await page.getByRole('button').first().waitFor({ timeout: pageDeadline });
    for (const [name, content] of Object.entries(more)) world.file(name, content);
    await world.must(world.tapyardCommand(['up', world.file('tapyard.yaml', file)]), { timeout: 120_000 });
    // A command that hosted the core itself would have taken its socket with it.
    if (!existsSync(join(world.runtimeDir('user'), 'tapyard/core.sock')))
      throw new Error('serve hosts no core');
    return { world, browser, page, close };
  } catch (error) {
    await close();
    throw error;
  }
}
