// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { checkout } from './world.ts';

const built = join(checkout, 'dist/renderer');

/** kB (1000 bytes) of files of the built page, each gzipped as serve sends it. */
const gzipped = (paths: Iterable<string>): number =>
  [...paths].reduce((sum, path) => sum + gzipSync(readFileSync(join(built, path))).length, 0) / 1000;

/** The files that a file of the build imports at once: not those of `import()`, which it loads when wanted. */
function importsOf(path: string): string[] {
  if (!path.endsWith('.js')) return [];
  const text = readFileSync(join(built, path), 'utf8');
  const found = text.matchAll(/(?:\bfrom|\bimport)\s*["'`]\.\/([\w.-]+\.js)["'`]/g);
  return [...found].map(([, name]) => `assets/${name}`);
}

/** `entries` and all that they import. */
function closure(entries: readonly string[]): Set<string> {
  const all = new Set<string>();
  const add = (path: string): void => {
    if (all.has(path)) return;
    all.add(path);
    importsOf(path).forEach(add);
  };
  entries.forEach(add);
  return all;
}

/** The chunk of a part that is loaded when it is wanted, with its style sheet. */
function chunkOf(name: string): string[] {
  const files = readdirSync(join(built, 'assets')).filter((file) => file.startsWith(`${name}-`));
  if (!files.some((file) => file.endsWith('.js'))) throw new Error(`the build has no chunk ${name}`);
  return files.map((file) => `assets/${file}`);
}

/** What a part of the built page weighs, and may weigh, in kB (1000 bytes) gzipped. */
export interface PageWeight {
  readonly what: string;
  readonly kB: number;
  readonly limit: number;
}

/** The built page's parts: what every window loads at first, and what a console adds. */
export function pageWeights(): PageWeight[] {
  const page = readFileSync(join(built, 'index.html'), 'utf8');
  const named = [...page.matchAll(/(?:src|href)="\.\/(assets\/[\w.-]+)"/g)].map(([, path]) => path ?? '');
  const first = closure(['index.html', ...named]);
  const beyond = (name: string): number =>
    gzipped([...closure(chunkOf(name))].filter((path) => !first.has(path)));
  return [
    { what: 'first load', kB: gzipped(first), limit: 300 },
    { what: 'serial console, beyond the first load', kB: beyond('SerialPane'), limit: 140 },
    { what: 'screen, beyond the first load', kB: beyond('ScreenPane'), limit: 65 },
  ];
}
