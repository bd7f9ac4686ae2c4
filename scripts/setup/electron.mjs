// SPDX-License-Identifier: Apache-2.0

import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { run } from '../lib/run.mjs';
import { CHECKOUT } from './steps.mjs';

/** Where the runtime is downloaded from, unless ELECTRON_MIRROR says otherwise. */
const DOWNLOADS = 'https://github.com/electron/electron/releases/';

/** Whether there is a network at all, in ms: every start without a runtime waits for this. */
const REACH_DEADLINE = 1500;

/**
 * Electron's runtime, which `npm ci` does not bring. The desktop window needs
 * it; without it, or without a display, Tapyard opens in the browser, so this
 * step never fails.
 *
 * @returns {import('./steps.mjs').Step}
 */
export function electronStep() {
  return {
    title: 'desktop window',
    plan() {
      if (!process.env.DISPLAY && !process.env.WAYLAND_DISPLAY) {
        return { done: 'no display here, Tapyard opens in the browser' };
      }
      const places = [
        process.env.ELECTRON_OVERRIDE_DIST_PATH,
        join(CHECKOUT, 'node_modules/electron/dist'),
      ].filter(Boolean);
      if (places.some((place) => existsSync(join(place, 'electron'))))
        return { done: "Electron's runtime is there" };
      return {
        why: "Electron's runtime is missing",
        what: ['npx install-electron  (downloads about 110 MB)'],
        act: download,
      };
    },
  };
}

async function download() {
  const site = process.env.ELECTRON_MIRROR ?? DOWNLOADS;
  const browser = 'Tapyard opens in the browser; for the window, later: npx install-electron';
  try {
    await fetch(site, { method: 'HEAD', signal: AbortSignal.timeout(REACH_DEADLINE) });
  } catch {
    return `its download site (${new URL(site).host}) is out of reach. ${browser}`;
  }
  const { code, late } = await run(process.execPath, [join(CHECKOUT, 'node_modules/electron/install.js')], {
    deadline: 300_000,
  });
  if (code === 0) return 'installed';
  return `${late ? 'the download took longer than 5 minutes' : 'the download failed'}. ${browser}`;
}
