// SPDX-License-Identifier: Apache-2.0
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { build, type Plugin, transform } from 'esbuild';
import { checkout } from '../world/world.ts';

/*
 * The desktop program for an Electron of 2021 (Node 12, Chromium 83). Main process: the shell's own sources, with
 * the missing of node:… and of electron replaced by what lies in electron-9/. Preload: the built one, byte for
 * byte. Page: the built one, its syntax lowered and nothing added.
 */

const shims = path.join(checkout, 'test/shell/electron-9');

const olderNode: Plugin = {
  name: 'older-node',
  setup(building) {
    building.onResolve({ filter: /^(?:node:.*|electron)$/ }, ({ path: specifier, importer }) => {
      const name = specifier.replace('node:', '');
      const shim = path.join(shims, `${name.replace('/', '-')}.ts`);
      // Node 12 knows its modules without `node:`.
      return existsSync(shim) && importer !== shim ? { path: shim } : { path: name, external: true };
    });
  },
};

async function lowered(file: string): Promise<string> {
  const { code } = await transform(readFileSync(file, 'utf8'), {
    loader: file.endsWith('.css') ? 'css' : 'js',
    target: 'chrome83',
    // Only the chunk of the screen has it, and that is loaded when somebody looks at one.
    supported: { 'top-level-await': true },
    logLevel: 'error',
  });
  return code;
}

/** Makes a directory that Electron 9 can be started with. */
export async function buildForOldElectron(directory: string): Promise<void> {
  const shell = path.join(directory, 'dist/shell');
  await build({
    absWorkingDir: checkout,
    entryPoints: { main: path.join(shims, 'main.ts') },
    outdir: shell,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node12',
    plugins: [olderNode],
    define: { 'import.meta': '{}' },
    logLevel: 'error',
  });
  copyFileSync(path.join(checkout, 'dist/shell/preload.cjs'), path.join(shell, 'preload.cjs'));
  writeFileSync(
    path.join(directory, 'package.json'),
    JSON.stringify({ name: 'tapyard', main: 'dist/shell/main.cjs' }),
  );
  const page = path.join(checkout, 'dist/renderer');
  for (const entry of readdirSync(page, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const from = path.join(entry.parentPath, entry.name);
    const to = path.join(directory, 'dist/renderer', path.relative(page, from));
    mkdirSync(path.dirname(to), { recursive: true });
    if (/\.(?:js|css)$/.test(entry.name)) writeFileSync(to, await lowered(from));
    else copyFileSync(from, to);
  }
}
