// SPDX-License-Identifier: Apache-2.0
import { accessSync, constants } from 'node:fs';
import { dirname, join } from 'node:path';

type Environment = Readonly<Record<string, string | undefined>>;

/** What opens the window: a desktop window with Electron's program, or a browser, and why. */
export type Opening =
  | { readonly kind: 'window'; readonly program: string; readonly why: string }
  | { readonly kind: 'browser'; readonly why: string };

const displays = ['WAYLAND_DISPLAY', 'DISPLAY'] as const;

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * Electron's program: `running` where the command itself runs on Electron's Node (as in packages), else the
 * runtime of the checkout that `program` (the command's own file) lies in.
 */
export function electronProgram(
  environment: Environment,
  program: string,
  running?: string,
): string | undefined {
  if (running !== undefined) return running;
  const override = environment['ELECTRON_OVERRIDE_DIST_PATH'];
  const places: string[] = override === undefined ? [] : [join(override, 'electron')];
  for (let directory = dirname(program), up = 0; up < 4; directory = dirname(directory), up++) {
    places.push(join(directory, 'node_modules/electron/dist/electron'));
  }
  return places.find(isProgram);
}

/** Decides between the desktop window and the browser. */
export function chooseOpening(environment: Environment, electron: string | undefined): Opening {
  const display = displays.find((name) => (environment[name] ?? '') !== '');
  // First of all: without a display a runtime would not help, so nobody should be told to fetch one.
  if (display === undefined) {
    return { kind: 'browser', why: 'there is no display (neither WAYLAND_DISPLAY nor DISPLAY is set)' };
  }
  if (electron === undefined) {
    return { kind: 'browser', why: 'there is no Electron runtime here (npx install-electron fetches one)' };
  }
  return {
    kind: 'window',
    program: electron,
    why: `an Electron runtime and a display (${display}) are here`,
  };
}
