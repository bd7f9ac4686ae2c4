// SPDX-License-Identifier: Apache-2.0
import { accessSync, constants } from 'node:fs';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

/** Where packages put the native programs. */
const installed = '/usr/libexec/tapyard';

/**
 * The path of one of our native programs (`tapyard-netd`, `tapyard-tap`), undefined where it is not built or
 * installed: `$TAPYARD_LIBEXEC` (for tests) alone when set, else the checkout that this code runs from, else
 * the package's directory.
 */
export function nativeProgram(
  name: string,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): string | undefined {
  const given = environment['TAPYARD_LIBEXEC'];
  const places = given === undefined ? [...checkoutPlaces(), installed] : [given];
  return places.map((place) => join(place, name)).find(isProgram);
}

/** `native/target/release` of the checkout, whether this runs as source or from a bundle in dist/. */
function checkoutPlaces(): string[] {
  // In a CommonJS bundle (Electron's main) there is no import.meta.url.
  const file = typeof __filename === 'string' ? __filename : fileURLToPath(import.meta.url);
  const places: string[] = [];
  for (let dir = dirname(file), up = 0; up < 4; dir = dirname(dir), up++)
    places.push(join(dir, 'native/target/release'));
  return places;
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
