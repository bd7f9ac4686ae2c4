// SPDX-License-Identifier: Apache-2.0

import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** Directories that never hold a source. */
const NOT_SOURCES = new Set(['node_modules', 'dist', 'target', '.git', '.cache']);

/**
 * One hash of the names and contents of files. By content and not by time,
 * for git gives every file the time of its checkout.
 *
 * @param {string} root
 * @param {string[]} paths files and directories below root; what is not there
 *   counts as absent
 * @returns {string} sha256 in hex
 */
export function digest(root, paths) {
  const hash = createHash('sha256');
  for (const path of paths.flatMap((one) => filesBelow(root, one))) {
    const content = readFileSync(join(root, path));
    hash.update(`${path}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex');
}

function filesBelow(root, path) {
  const full = join(root, path);
  if (!existsSync(full)) return [];
  if (!statSync(full).isDirectory()) return [path];
  return readdirSync(full, { withFileTypes: true })
    .filter((entry) => !NOT_SOURCES.has(entry.name) && !entry.isSymbolicLink())
    .map((entry) => entry.name)
    .toSorted()
    .flatMap((name) => filesBelow(root, join(path, name)));
}
