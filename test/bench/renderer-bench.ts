// SPDX-License-Identifier: Apache-2.0
/* What the window weighs, when it can be used, and (map-bench.ts) what a frame of a large map costs. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { build } from 'vite';
import { pageWeights } from '../world/page-weight.ts';
import { checkout } from '../world/world.ts';
import { type Figure, median, percentile, report, rounded } from './figures.ts';
import { labWorld } from './lab-world.ts';

const loads = 7;
const mapRuns = 5;
const mapDeadline = 900_000;
const pageDeadline = 30_000;

const sizes = (): Promise<Figure[]> =>
  Promise.resolve(
    pageWeights().map(({ what, kB, limit }) => {
      return { what, unit: 'kB', figure: rounded(kB), aim: `≤ ${limit} kB gzip`, met: kB <= limit };
    }),
  );

/** ms from the navigation's start until the running guest is drawn, NAT can be switched and the thread is idle. */
async function interactive(page: Page): Promise<number> {
  await page.locator('.map-guest.running').first().waitFor({ timeout: pageDeadline });
  await page.getByRole('switch', { name: 'NAT of br0' }).waitFor({ timeout: pageDeadline });
  return page.evaluate(
    () =>
      new Promise<number>((resolve) => {
        requestAnimationFrame(() => requestIdleCallback(() => resolve(performance.now())));
      }),
  );
}

async function timeToInteractive(): Promise<Figure[]> {
  const { world, browser, page, close } = await labWorld(
    readFileSync(join(checkout, 'assets/labs/seed.yaml'), 'utf8'),
  );
  try {
    await interactive(page);
    // An address works once, but a page that reloads keeps its session; its files are fetched anew.
    const devtools = await browser.newCDPSession(page);
    await devtools.send('Network.setCacheDisabled', { cacheDisabled: true });
    const times: number[] = [];
    for (let load = 0; load < loads; load += 1) {
      await page.reload({ waitUntil: 'commit', timeout: pageDeadline });
      times.push(await interactive(page));
    }
    const guests = world.processes().filter(({ command }) => /^\S*qemu-system/.test(command)).length;
    return [
      {
        what: 'time to interactive, served, cold cache',
        unit: 'ms',
        figure: rounded(median(times)),
        p95: rounded(percentile(times, 0.95)),
        aim: null,
        met: null,
        note: `a real lab with ${guests} running guest, which has one of the machine's CPUs for itself under TCG`,
      },
    ];
  } finally {
    await close();
  }
}

interface MapResults {
  readonly map: Readonly<Record<string, { p95: number; worstWall: number }>>;
  readonly budget: { readonly p95: number; readonly worst: number };
}

/** The map's own bench, over the fake core. */
async function map(): Promise<Figure[]> {
  await build({ root: join(checkout, 'test/fakes/page'), logLevel: 'error' });
  const dir = mkdtempSync(join(tmpdir(), 'tapyard-map-'));
  const json = join(dir, 'map.json');
  try {
    const args = [join(import.meta.dirname, 'map-bench.mjs'), '--runs', String(mapRuns), '--json', json];
    const child = spawn(process.execPath, args, {
      cwd: checkout,
      stdio: ['ignore', 'ignore', 'inherit'],
      timeout: mapDeadline,
    });
    await once(child, 'exit'); // 1 means over budget, which the figures say
    const results: MapResults = JSON.parse(readFileSync(json, 'utf8'));
    return Object.entries(results.map).flatMap(([zoom, { p95, worstWall }]): Figure[] => [
      {
        what: `map, 500 nodes, ${zoom}: main thread a frame, p95`,
        unit: 'ms',
        figure: p95,
        aim: `< ${results.budget.p95} ms`,
        met: p95 < results.budget.p95,
      },
      {
        what: `map, 500 nodes, ${zoom}: longest frame, wall time`,
        unit: 'ms',
        figure: worstWall,
        aim: `≤ ${results.budget.worst} ms`,
        met: worstWall <= results.budget.worst,
      },
    ]);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

await report([
  ['chunk sizes', sizes],
  ['time to interactive', timeToInteractive],
  ['map of 500 nodes', map],
]);
