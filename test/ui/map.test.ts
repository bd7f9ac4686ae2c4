// SPDX-License-Identifier: Apache-2.0
import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { fakePages, hasKeyboard } from '../fakes/fake-pages.ts';

// The map over the fake core in a real browser, under the product's own content security policy.
const openPage = fakePages();

async function open(query: string, width = 1044, height = 542, reducedMotion?: 'reduce'): Promise<Page> {
  return await openPage({ width, height, query, ...(reducedMotion ? { reducedMotion } : {}) });
}

const focused = (page: Page): Promise<string | null | undefined> =>
  page.evaluate(() => document.activeElement?.getAttribute('data-key'));

/** Frames that the page asked for in a second. */
const framesAsked = (page: Page): Promise<number> =>
  page.evaluate(async () => {
    const real = requestAnimationFrame;
    let asked = 0;
    globalThis.requestAnimationFrame = (callback) => {
      asked++;
      return real(callback);
    };
    await new Promise((resolve) => setTimeout(resolve, 1000));
    globalThis.requestAnimationFrame = real;
    return asked;
  });

describe('the map', () => {
  it('switches NAT at its node and shows what is observed', async () => {
    const page = await open('lab=mock');
    const nat = page.getByRole('switch', { name: 'NAT of br0' });
    expect(await nat.getAttribute('aria-checked')).toBe('true');
    await nat.click();
    await page.locator('.map-nat').getByText('br0 is isolated').waitFor();
    expect(await nat.getAttribute('aria-checked')).toBe('false');
    await nat.focus();
    await page.keyboard.press('Space');
    await page.locator('.map-nat').getByText('Guests of br0 reach the internet').waitFor();
    expect(await nat.getAttribute('aria-checked')).toBe('true');
  });

  it('says "switching…" until the kernel has switched', async () => {
    const page = await open('lab=mock&natMs=600');
    const nat = page.getByRole('switch', { name: 'NAT of br0' });
    await nat.click();
    await page.getByText('switching…').waitFor();
    expect(await nat.getAttribute('aria-busy')).toBe('true');
    expect(await nat.getAttribute('aria-checked')).toBe('true');
    await page.locator('.map-nat').getByText('br0 is isolated').waitFor();
  });

  it('shows on the node why NAT could not be switched', async () => {
    const page = await open('lab=mock&failing=network.setNat');
    await page.getByRole('switch', { name: 'NAT of br0' }).click();
    await page.getByRole('alert').getByText('The kernel refused').waitFor();
    expect(await page.getByRole('switch', { name: 'NAT of br0' }).getAttribute('aria-checked')).toBe('true');
  });

  it('is walked along its cables with the arrow keys', async () => {
    const page = await open('lab=mock');
    await page.locator('.map-guest').first().click();
    const seen: unknown[] = [];
    for (const key of ['ArrowLeft', 'ArrowLeft', 'ArrowLeft', 'ArrowLeft', 'ArrowRight', 'ArrowRight']) {
      await page.keyboard.press(key);
      await page.waitForTimeout(100);
      seen.push(await focused(page));
    }
    expect(seen).toEqual([
      'link:seed/tap0',
      'network:seed/br0',
      'nat:seed/br0',
      'uplink:seed',
      'nat:seed/br0',
      'network:seed/br0',
    ]);
  });

  it('offers a menu by mouse and by the context menu key', async () => {
    const page = await open('lab=mock');
    await page.locator('.map-guest').first().click({ button: 'right' });
    await page.getByRole('menuitem', { name: 'Force off web' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('menu').waitFor({ state: 'detached' });
    await page.locator('.map-guest').nth(1).focus();
    await page.keyboard.press('Shift+F10');
    await page.getByRole('menuitem', { name: 'Pause db' }).click();
    await page.getByText('paused · Debian 12').waitFor();
  });

  it('has menus behind buttons for the mouse and the keyboard', async () => {
    const page = await open('lab=mock&window', 1440, 900);
    const more = page
      .getByRole('complementary', { name: 'Inspector' })
      .getByRole('button', { name: 'More for db' });
    await page.locator('.map-guest').nth(1).click();
    await more.click();
    await page.getByRole('menu', { name: 'More for db' }).waitFor();
    expect(await more.getAttribute('aria-expanded')).toBe('true');
    await page.keyboard.press('Escape');
    await page.getByRole('menu').waitFor({ state: 'detached' });
    await expect.poll(() => hasKeyboard(more)).toBe(true);
    await page.keyboard.press('ArrowUp');
    const last = page.getByRole('menuitem').last();
    await last.waitFor();
    await expect.poll(() => hasKeyboard(last)).toBe(true);
    await page.keyboard.press('Escape');
    await page.getByRole('menu').waitFor({ state: 'detached' });
    await expect.poll(() => hasKeyboard(more)).toBe(true);
    await page.keyboard.press('Enter');
    const first = page.getByRole('menuitem').first();
    await expect.poll(() => hasKeyboard(first)).toBe(true);
    await page.keyboard.press('Enter');
    await page.getByRole('menu').waitFor({ state: 'detached' });
  });

  it('keeps where nodes were dragged to, until tidied', async () => {
    const page = await open('lab=mock');
    const card = page.locator('.map-guest').nth(1);
    const before = await card.boundingBox();
    if (!before) throw new Error('the card has no box');
    await page.mouse.move(before.x + 60, before.y + 30);
    await page.mouse.down();
    await page.mouse.move(before.x + 20, before.y + 90, { steps: 6 });
    await page.mouse.up();
    const moved = await card.boundingBox();
    expect(moved?.y).toBeGreaterThan(before.y + 40);
    const kept = await page.evaluate(() => localStorage.getItem('tapyard.map.seed'));
    expect(kept).toContain('guest:seed/db');
    await page.getByRole('button', { name: 'Tidy' }).click();
    expect(await page.evaluate(() => localStorage.getItem('tapyard.map.seed'))).toBeNull();
    await expect.poll(async () => (await card.boundingBox())?.y).toBeCloseTo(before.y, 0);
  });

  it('brings a lab up from its ghosts, and shows a crash', async () => {
    const page = await open('lab=down');
    expect(await page.locator('.map-bridge.ghost').count()).toBe(2);
    await page.getByRole('button', { name: 'Bring it up' }).click();
    await expect.poll(() => page.locator('.map-guest.running').count(), { timeout: 5000 }).toBe(3);
    expect(await page.locator('.map-bridge.ghost').count()).toBe(0);
    await page.evaluate(() => {
      const core: unknown = Reflect.get(globalThis, 'fakeCore');
      if (
        typeof core === 'object' &&
        core !== null &&
        'crashGuest' in core &&
        typeof core.crashGuest === 'function'
      ) {
        core.crashGuest('seed/web');
      }
    });
    await page.getByText('crashed · killed by signal 9').waitFor();
    expect(await page.locator('.map-port.ghost').allInnerTexts()).toEqual(['tap0']);
    await page.getByRole('button', { name: 'Start web' }).click();
    await expect.poll(() => page.locator('.map-guest.running').count(), { timeout: 5000 }).toBe(3);
  });

  it('fits itself on resize until the user has moved it', async () => {
    const page = await open('lab=mock');
    const inside = async (): Promise<boolean> => {
      const card = page.locator('.map-guest').nth(2);
      // Far out of sight it is not in the DOM.
      const box = (await card.count()) > 0 ? await card.boundingBox() : null;
      const size = page.viewportSize();
      return (
        box !== null && size !== null && box.x + box.width <= size.width && box.y + box.height <= size.height
      );
    };
    await page.setViewportSize({ width: 800, height: 400 });
    await expect.poll(inside).toBe(true);
    await page.setViewportSize({ width: 1044, height: 542 });
    for (let step = 0; step < 3; step++) await page.getByRole('button', { name: 'Zoom in' }).click();
    await page.setViewportSize({ width: 700, height: 400 });
    await page.waitForTimeout(200);
    expect(await inside()).toBe(false);
    await page.getByRole('button', { name: 'Fit' }).click();
    await expect.poll(inside).toBe(true);
  });

  it('draws a lab of 500 nodes on the canvas, and selects there', async () => {
    const page = await open('lab=huge');
    expect(await page.locator('.map-node').count()).toBe(0);
    await page.locator('.map-far').waitFor();
    await page.mouse.move(500, 250);
    // d3-zoom: one wheel event scales by 2^(-deltaY × 0.002).
    await page.mouse.wheel(0, -1600);
    await expect.poll(() => page.locator('.map-node').count()).toBeGreaterThan(5);
    expect(await page.locator('.map-node').count()).toBeLessThanOrEqual(165);
  });

  it('is the same as a list', async () => {
    const page = await open('lab=mock');
    await page.getByRole('button', { name: 'As list' }).click();
    await page.getByRole('tree').waitFor();
    await page
      .getByRole('treeitem', { name: /^NAT On/ })
      .first()
      .focus();
    await page.keyboard.press('Space');
    await page.getByRole('treeitem', { name: /^NAT Off, br0 is isolated/ }).waitFor();
    // The way back lies beside the list, not over its last lines.
    const list = await page.getByRole('tree').boundingBox();
    const back = await page.getByRole('button', { name: 'As map' }).boundingBox();
    expect((list?.y ?? 0) + (list?.height ?? 0)).toBeLessThanOrEqual(back?.y ?? 0);
    await page.getByRole('button', { name: 'As map' }).click();
    await page.locator('.map-guest').first().waitFor();
  });

  it('asks for no frame when nothing moves, nor where motion is not wanted', async () => {
    const quiet = await open('lab=mock&quiet');
    await quiet.waitForTimeout(600);
    expect(await framesAsked(quiet)).toBeLessThan(10);
    const still = await open('lab=mock', 1044, 542, 'reduce');
    await still.waitForTimeout(600);
    expect(await framesAsked(still)).toBeLessThan(20);
    const lively = await open('lab=mock');
    await lively.waitForTimeout(600);
    expect(await framesAsked(lively)).toBeGreaterThan(20);
  });
});

/** The smallest side of what takes the pointer at an element, looked for from its middle outwards, CSS pixels. */
const targetSize = (page: Page, selector: string): Promise<number> =>
  page.evaluate((wanted) => {
    const element = document.querySelector(wanted);
    if (!element) return 0;
    const box = element.getBoundingClientRect();
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    const reach = (dx: number, dy: number): number => {
      let steps = 0;
      const hit = (): boolean =>
        document.elementFromPoint(x + dx * (steps + 1), y + dy * (steps + 1)) === element;
      while (steps < 200 && hit()) steps++;
      return steps;
    };
    return Math.min(reach(1, 0) + reach(-1, 0), reach(0, 1) + reach(0, -1)) + 1;
  }, selector);

describe('the window', () => {
  it('leaves guests and consoles in sight beside the inspector of a small window', async () => {
    const page = await open('window&lab=mock&consoles', 1024, 700);
    const guests = page.locator('.map-guest');
    await guests.first().click();
    const inspector = page.getByRole('complementary', { name: 'Inspector' });
    await inspector.waitFor();
    await expect
      .poll(async () => {
        const side = await inspector.boundingBox();
        const boxes = await Promise.all((await guests.all()).map((guest) => guest.boundingBox()));
        return boxes.every((box) => box && side && box.x >= 52 && box.x + box.width <= side.x);
      })
      .toBe(true);
    const [side, consoles] = await Promise.all([
      inspector.boundingBox(),
      page.getByRole('region', { name: 'Consoles' }).boundingBox(),
    ]);
    expect(consoles?.width).toBe(1024 - 52);
    expect((side?.y ?? 0) + (side?.height ?? 0)).toBeLessThanOrEqual(consoles?.y ?? 0);
    await page.keyboard.press('Escape');
    await inspector.waitFor({ state: 'detached' });
  });

  it('brings what the palette finds into sight, however fast it is asked', async () => {
    const page = await open('window&lab=mock');
    for (let step = 0; step < 3; step++) await page.getByRole('button', { name: 'Zoom in' }).click();
    await page.keyboard.press('Control+k');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.type('router');
    await page.keyboard.press('Enter');
    await expect
      .poll(async () => {
        const box = await page.locator('.map-guest.selected').boundingBox({ timeout: 2000 });
        return box !== null && box.x >= 52 && box.x + box.width <= 1044;
      })
      .toBe(true);
  });

  it('fits, tidies and becomes a list by key', async () => {
    const page = await open('window&lab=mock');
    const zoom = (): Promise<number> =>
      page.evaluate(() => {
        const viewport = document.querySelector('.react-flow__viewport');
        return viewport ? new DOMMatrix(getComputedStyle(viewport).transform).a : 0;
      });
    const fitted = await zoom();
    await page.getByRole('button', { name: 'Zoom in' }).click();
    await expect.poll(zoom).toBeGreaterThan(fitted);
    await page.keyboard.press('Alt+0');
    await expect.poll(zoom).toBeCloseTo(fitted, 5);
    await page.keyboard.press('Alt+l');
    await page.getByRole('tree').waitFor();
    await page.keyboard.press('Alt+l');
    await page.locator('.map-guest').first().waitFor();
  });

  it('keeps what is wrong with a network or guest in its box where the map is small', async () => {
    const page = await open('window&lab=states&select=network:states/br0', 1024, 700);
    for (const [node, says] of [
      ['.map-bridge.ghost', 'An interface br1 exists'],
      ['.map-guest', 'The image /home/ada'],
    ] as const) {
      const box = page.locator(`${node}[data-level="chip"]`).filter({ hasText: says });
      await box.waitFor();
      const [outer, inner] = await Promise.all([box.boundingBox(), box.getByText(says).boundingBox()]);
      expect((inner?.x ?? 0) + (inner?.width ?? 0)).toBeLessThanOrEqual(
        (outer?.x ?? 0) + (outer?.width ?? 0),
      );
      expect((inner?.y ?? 0) + (inner?.height ?? 0)).toBeLessThanOrEqual(
        (outer?.y ?? 0) + (outer?.height ?? 0),
      );
    }
  });

  it('has targets of 24 pixels at every zoom that draws them', async () => {
    for (const [width, height] of [
      [1044, 542],
      [760, 420],
      [460, 300],
    ] as const) {
      const page = await open('lab=mock&quiet', width, height);
      await page.locator('.map-switch').first().waitFor();
      expect(await targetSize(page, '.map-switch')).toBeGreaterThanOrEqual(24);
      const level = await page.locator('.map-port').first().getAttribute('data-level');
      if (level === 'card') expect(await targetSize(page, '.map-port')).toBeGreaterThanOrEqual(24);
      else expect(await targetSize(page, '.map-port')).toBe(1);
    }
  });

  it('stands still while the core is gone', async () => {
    const page = await open('window&lab=mock&trouble=gone');
    await page.getByText('The core is gone').waitFor();
    // What would be written through it cannot be begun.
    for (const name of ['Bring seed down', 'Add network', 'New guest'])
      expect(await page.getByRole('button', { name }).getAttribute('aria-disabled')).toBe('true');
    await page.waitForTimeout(300);
    expect(await framesAsked(page)).toBeLessThan(20);
  });

  it('says once why a lab did not come up', async () => {
    const page = await open('window&lab=mock&trouble=failed');
    await page.getByText('QEMU ended while web was starting').waitFor();
    expect(await page.getByText('QEMU ended while web was starting').count()).toBe(1);
    await page.getByRole('button', { name: 'Check this computer' }).waitFor();
  });
});
