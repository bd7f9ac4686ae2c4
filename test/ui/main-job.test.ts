// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openServed } from '../world/browser.ts';
import { theRunningGuest } from '../world/listed.ts';
import { checkout, until, wanAddress, World } from '../world/world.ts';

/*
 * The main job in a real Chromium against `tapyard serve`, with a real guest in the private scope. Things are
 * found by role and name, as a person or a screen reader finds them. Pictures are kept in dist/screenshots.
 */

const pictures = path.join(checkout, 'dist/screenshots');

let world: World;
let browser: BrowserContext;
let page: Page;
let complaints: string[];

const terminal = (): Promise<string> =>
  page.getByRole('region', { name: 'Consoles' }).locator('.xterm-rows').innerText();

/** Types a line into the serial pane. */
async function type(line: string): Promise<void> {
  await page.getByRole('textbox', { name: 'Terminal input' }).focus();
  await page.keyboard.type(line, { delay: 5 });
  await page.keyboard.press('Enter');
}

/** Types a command whose output holds `said`, which its echo does not, and waits for it. */
async function says(command: string, said: RegExp, deadline = 10_000): Promise<void> {
  await type('clear');
  await type(command);
  await until(`${command} says ${String(said)}`, deadline, async () => said.test(await terminal())).catch(
    async (error: unknown) => {
      throw new Error(`${String(error)}\n${await terminal()}`);
    },
  );
}

const picture = async (name: string): Promise<void> => {
  await page.screenshot({ path: path.join(pictures, `${name}.png`) });
};

beforeAll(async () => {
  mkdirSync(pictures, { recursive: true });
  world = World.create();
  await world.serveWan();
  const file = world.file('seed.yaml', readFileSync(path.join(checkout, 'assets/labs/seed.yaml')));
  const up = await world.tapyard(['up', file], { timeout: 90_000 });
  expect(up, up.stderr).toMatchObject({ code: 0 });
  const serve = world.start(world.tapyardCommand(['serve']));
  ({ browser, page, complaints } = await openServed(world, serve));
});
afterAll(async () => {
  await browser?.close();
  world?.close();
});

test('the map shows the chain from the internet to the guest, as the kernel has it', async () => {
  const map = page.getByRole('application', { name: /Map of seed/ });
  await map.getByRole('group', { name: /^Guest guest, running/ }).waitFor();
  await map.getByRole('group', { name: /^Internet, eth0 203\.0\.113\.2\/24/ }).waitFor();
  await map.getByRole('group', { name: /^NAT, On\. Guests of br0 reach the internet/ }).waitFor();
  await map.getByRole('group', { name: /^Bridge br0, 192\.168\.57\.1\/24.*1 port/ }).waitFor();
  await map.getByRole('button', { name: 'Port tap0, eth0 of guest' }).waitFor();
});

test('a command typed in the serial pane comes back with its output', async () => {
  await page.getByRole('group', { name: /^Guest guest/ }).click();
  await page.getByRole('region', { name: 'Consoles' }).getByRole('button', { name: 'Serial' }).click();
  await page.getByRole('textbox', { name: 'Terminal input' }).waitFor({ state: 'attached' }); // xterm keeps it out of sight
  await says('echo $((6*7)) is the answer', /42 is the answer/);
  await says('ip -4 -o addr show dev eth0', /192\.168\.57\.2\/24/);
});

test('a guest’s card shows what its cable carries, as the kernel counts it', async () => {
  const card = page.getByRole('group', { name: /^Guest guest/ });
  // The server sends some bytes every 50 ms, until the connection is closed.
  await type(`nc -d ${wanAddress} 7777 > /dev/null & echo go-$((6*7))`);
  await until('both ways show a rate', 30_000, async () =>
    /↓ [1-9][\d.]* k?b\/s\s+↑ [1-9][\d.]* k?b\/s/.test(await card.innerText()),
  );
  await says('killall nc; echo ended-$((6*7))', /ended-42/);
  await until('it is quiet again', 30_000, async () => /↓ 0\s+↑ 0/.test(await card.innerText()));
});

test('the NAT switch cuts and restores the way out, and says so', async () => {
  await says(`ping -c1 -W1 ${wanAddress}`, /1 packets received/);
  const nat = page.getByRole('switch', { name: 'NAT of br0' });
  await nat.click();
  await page.getByRole('group', { name: /^NAT, Off/ }).waitFor({ timeout: 2000 });
  expect(await nat.isChecked()).toBe(false);
  await says(`ping -c1 -W1 ${wanAddress}`, /100% packet loss/);
  await says('ping -c1 -W1 192.168.57.1', /1 packets received/);
  await nat.click();
  await page.getByRole('group', { name: /^NAT, On/ }).waitFor({ timeout: 2000 });
  await says(`ping -c1 -W1 ${wanAddress}`, /1 packets received/);
});

test('the screen pane shows pixels that change when a key is pressed', async () => {
  await page.getByRole('group', { name: /^Guest guest/ }).click();
  await page
    .getByRole('button', { name: 'Screen of guest' })
    .or(page.getByRole('region', { name: 'Consoles' }).getByRole('button', { name: /Screen|Split/ }))
    .first()
    .click();
  const screen = page.getByRole('region', { name: 'Consoles' }).locator('canvas').last();
  await screen.waitFor();
  const look = async (): Promise<{ hash: string; lit: number }> => {
    const data = await screen.evaluate((canvas) => {
      if (!(canvas instanceof HTMLCanvasElement)) return [];
      const pixels = canvas.getContext('2d')?.getImageData(0, 0, canvas.width, canvas.height).data ?? [];
      return Array.from(pixels).filter((_, index) => index % 4 === 1);
    });
    return {
      hash: createHash('sha256').update(Uint8Array.from(data)).digest('hex'),
      lit: data.filter((value) => value > 60).length,
    };
  };
  await until('the screen shows something', 15_000, async () => (await look()).lit > 100);
  await screen.click();
  await page.keyboard.press('Enter');
  await page.waitForTimeout(700);
  const before = await look();
  await page.keyboard.type('echo hello', { delay: 60 });
  await until('typed keys change the screen', 5000, async () => {
    const now = await look();
    return now.hash !== before.hash && now.lit > before.lit + 50;
  });
});

test('pictures in dark and light, large and small', async () => {
  await page.keyboard.press('Enter');
  for (const [name, scheme, width, height] of [
    ['dark-1440', 'dark', 1440, 900],
    ['light-1440', 'light', 1440, 900],
    ['dark-1024', 'dark', 1024, 700],
    ['light-1024', 'light', 1024, 700],
  ] as const) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.setViewportSize({ width, height });
    await page.waitForTimeout(600);
    await picture(name);
    // A guest stays in sight, also on a small screen.
    await page
      .getByRole('group', { name: /^Guest guest/ })
      .first()
      .waitFor();
  }
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.setViewportSize({ width: 1440, height: 900 });
});

test('kill -9 of QEMU: the map shows the guest crashed within 1 s, without its tap', async () => {
  const guest = await theRunningGuest(world);
  const crashed = page.getByRole('group', { name: /^Guest guest, crashed/ }).waitFor({ timeout: 1000 });
  process.kill(guest.pid, 'SIGKILL');
  await crashed;
  await page
    .getByRole('button', { name: 'Port tap0, eth0 of guest', exact: true })
    .waitFor({ state: 'hidden', timeout: 2000 });
  await picture('crashed');
});

test('a guest made by the form starts and gets the address that the form gave it', async () => {
  await page.getByRole('button', { name: 'New guest' }).click();
  const form = page.getByRole('dialog');
  await form.getByRole('textbox', { name: /^Name/ }).fill('web-2');
  await form.getByRole('textbox', { name: /^Address/ }).fill('192.168.57.77');
  await picture('new-guest');
  await form.getByRole('button', { name: /Create|Add/ }).click();
  await page.getByRole('group', { name: /^Guest web-2, running/ }).waitFor({ timeout: 20_000 });
  await page.getByRole('group', { name: /^Guest web-2.*192\.168\.57\.77/ }).waitFor();
  expect(readFileSync(path.join(world.home('user'), 'seed.yaml'), 'utf8')).toMatch(
    /# the host is \.1[\s\S]*web-2/,
  );
});

test('bring down asks, then leaves an empty map; the page never complained', async () => {
  await page.getByRole('button', { name: 'Bring seed down' }).click();
  await page
    .getByRole('alertdialog')
    .or(page.getByRole('dialog'))
    .getByRole('button', { name: /Bring down/ })
    .click();
  await page.getByText('This lab is down').first().waitFor({ timeout: 30_000 });
  await picture('down');
  expect(complaints).toEqual([]);
});
