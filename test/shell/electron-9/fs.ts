// SPDX-License-Identifier: Apache-2.0
import { readdirSync as readOne, type Dirent } from 'node:fs';
import { join } from 'node:path';

/* Node 12's fs, but readdirSync as `readdirSync(path, { recursive: true, withFileTypes: true })` of Node 20. */

export * from 'node:fs';

export function readdirSync(directory: string): Dirent[] {
  return readOne(directory, { withFileTypes: true }).flatMap((entry) => [
    Object.assign(entry, { parentPath: directory }),
    ...(entry.isDirectory() ? readdirSync(join(directory, entry.name)) : []),
  ]);
}
