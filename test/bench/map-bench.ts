// SPDX-License-Identifier: Apache-2.0
/*
 * What a frame costs the main thread while the map of 500 nodes, 800 cables and 1300 live gauges is panned, at
 * zoom 1, 0.5 and fit. `npm run bench -- renderer` builds the page, bundles this file and runs it.
 * Prints a table, and JSON to the file named by --json. Exits 1 over budget.
 */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Browser, Page } from 'playwright-core';
import { launchChromium, openFakePage } from '../fakes/browser.ts';

/** CPU time of the main thread at the 95th percentile, and wall time of the worst frame, ms. */
const budget = { p95: 12, worst: 50 };

interface Run {
  readonly frames: number;
  readonly p50: number;
  readonly p95: number;
  readonly worstWall: number;
}

interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly ts: number;
  readonly dur?: number;
  readonly tdur?: number;
  readonly pid: number;
  readonly tid: number;
  readonly args?: { readonly name?: string };
}

const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
const median = (values: readonly number[]): number =>
  percentile(
    [...values].sort((a, b) => a - b),
    0.5,
  );

/** CPU and wall time of the page's main thread from one frame's begin to the next, ms. */
function framesOf(events: readonly TraceEvent[]): { cpu: number; wall: number }[] {
  const begins = new Map<string, number[]>();
  for (const event of events) {
    if (event.name !== 'ProxyMain::BeginMainFrame' || event.ph !== 'X') continue;
    const key = `${event.pid}:${event.tid}`;
    begins.set(key, [...(begins.get(key) ?? []), event.ts]);
  }
  // Besides the page there may be a spare renderer; the page is the one that draws.
  const [main, starts] = [...begins].sort((a, b) => b[1].length - a[1].length)[0] ?? ['', []];
  const at = starts
    .sort((a, b) => a - b)
    .filter((ts, index, all) => index === 0 || ts - (all[index - 1] ?? 0) > 1000);
  const frames = at.map(() => ({ cpu: 0, wall: 0 }));
  for (const event of events) {
    if (event.name !== 'ThreadControllerImpl::RunTask') continue;
    if (`${event.pid}:${event.tid}` !== main || event.ph !== 'X') continue;
    const end = event.ts + (event.dur ?? 0);
    // The task that begins a frame starts before the event inside it: its end tells the frame.
    const index = at.findLastIndex((ts) => ts <= end);
    const frame = frames[index];
    if (!frame) continue;
    frame.cpu += (event.tdur ?? event.dur ?? 0) / 1000;
    frame.wall += (event.dur ?? 0) / 1000;
  }
  return frames.slice(1, -1);
}

const zoomOf = (page: Page): Promise<number> =>
  page.evaluate(() => {
    const viewport = document.querySelector('.react-flow__viewport');
    return viewport ? new DOMMatrix(getComputedStyle(viewport).transform).a : 1;
  });

/** A point of the map where a drag pans and moves no node. */
const freePoint = (page: Page): Promise<{ x: number; y: number }> =>
  page.evaluate(() => {
    for (let y = innerHeight / 2; y < innerHeight - 80; y += 7) {
      for (let x = innerWidth / 3; x < innerWidth - 40; x += 7) {
        if (document.elementFromPoint(x, y)?.classList.contains('react-flow__pane')) return { x, y };
      }
    }
    return { x: innerWidth / 2, y: innerHeight / 2 };
  });

async function oneRun(browser: Browser, built: string, zoom: number | null): Promise<Run> {
  const size = { width: 1440, height: 900 };
  const { page, context } = await openFakePage(
    browser,
    built,
    { ...size, query: 'lab=huge&theme=dark&gauges=all' },
    (text) => console.error(text),
  );
  try {
    await page.waitForTimeout(500);
    if (zoom !== null) {
      await page.mouse.move(size.width * 0.45, size.height * 0.45);
      // d3-zoom: a wheel event scales by 2^(-deltaY × 0.002).
      await page.mouse.wheel(0, -Math.log2(zoom / (await zoomOf(page))) / 0.002);
      await page.waitForTimeout(500);
    }
    const from = await freePoint(page);
    await page.mouse.move(from.x, from.y);
    await page.waitForTimeout(500);
    const trace = join(tmpdir(), `tapyard-map-${process.pid}.json`);
    await browser.startTracing(page, { path: trace, categories: ['toplevel', 'cc', 'devtools.timeline'] });
    await page.mouse.down();
    // One step a frame, some 17 px: on a busy machine there are fewer frames, not longer jumps.
    for (let step = 1; step <= 120; step++) {
      const turn = (step / 120) * 2 * Math.PI;
      await page.mouse.move(from.x + 320 * Math.sin(turn), from.y + 260 * (1 - Math.cos(turn)) * 0.5);
      await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(resolve)));
    }
    await page.mouse.up();
    await browser.stopTracing();
    const parsed: { traceEvents: TraceEvent[] } = JSON.parse(await readFile(trace, 'utf8'));
    await rm(trace);
    const frames = framesOf(parsed.traceEvents);
    // A trace without the events that this looks for would be a perfect score.
    if (frames.length < 30) throw new Error(`only ${frames.length} frames are in the trace`);
    const cpu = frames.map((frame) => frame.cpu).sort((a, b) => a - b);
    return {
      frames: frames.length,
      p50: percentile(cpu, 0.5),
      p95: percentile(cpu, 0.95),
      worstWall: Math.max(0, ...frames.map((frame) => frame.wall)),
    };
  } finally {
    await context.close();
  }
}

const { values } = parseArgs({
  options: {
    built: { type: 'string', default: 'dist/fake' },
    json: { type: 'string' },
    runs: { type: 'string', default: '5' },
  },
});
const browser = await launchChromium();
const results: Record<string, { p50: number; p95: number; worstWall: number; frames: number; ok: boolean }> =
  {};
try {
  for (const [name, zoom] of [
    ['zoom 1', 1],
    ['zoom 0.5', 0.5],
    ['fit', null],
  ] as const) {
    const runs: Run[] = [];
    for (let run = 0; run < Number(values.runs); run++) runs.push(await oneRun(browser, values.built, zoom));
    const p95 = median(runs.map((run) => run.p95));
    const worstWall = median(runs.map((run) => run.worstWall));
    results[name] = {
      frames: median(runs.map((run) => run.frames)),
      p50: Number(median(runs.map((run) => run.p50)).toFixed(2)),
      p95: Number(p95.toFixed(2)),
      worstWall: Number(worstWall.toFixed(1)),
      ok: p95 < budget.p95 && worstWall < budget.worst,
    };
  }
} finally {
  await browser.close();
}
console.table(results);
if (values.json !== undefined)
  await writeFile(values.json, `${JSON.stringify({ map: results, budget }, null, 2)}\n`);
process.exitCode = Object.values(results).every((result) => result.ok) ? 0 : 1;
