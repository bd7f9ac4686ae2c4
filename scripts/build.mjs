// SPDX-License-Identifier: Apache-2.0

/**
 * Bundles the programs: the command (with the core and serve in chunks that are loaded when they are used),
 * and the Electron shell. The same sources give the same bytes.
 */

import { chmodSync, existsSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build as bundle } from 'esbuild';

import { buildId } from './lib/build-id.mjs';
import { contractHash } from './lib/contract-hash.mjs';

const checkout = join(dirname(fileURLToPath(import.meta.url)), '..');
const source = (path) => join(checkout, 'electron', path);
const target = (path) => join(checkout, 'dist', path);

/**
 * zod carries its messages in some fifty languages and no bundler can tell that we use one: 360 kB that every
 * command would have to read.
 * @type {import('esbuild').Plugin}
 */
const zodInEnglish = {
  name: 'zod-in-english',
  setup(building) {
    building.onLoad({ filter: /[/\\]zod[/\\]v4[/\\]locales[/\\]index\.js$/ }, () => ({
      contents: "export { default as en } from './en.js';",
    }));
  },
};

const contract = await contractHash();
const build = buildId();
/** What the programs know of themselves and would else have to work out at each start. */
const define = { TAPYARD_CONTRACT_HASH: JSON.stringify(contract), TAPYARD_BUILD: JSON.stringify(build) };

/** @type {import('esbuild').BuildOptions} */
const common = {
  absWorkingDir: checkout,
  bundle: true,
  platform: 'node',
  target: 'node20',
  external: ['node-pty', 'electron'],
  plugins: [zodInEnglish],
  define,
  legalComments: 'none',
  logLevel: 'warning',
};

rmSync(target('cli'), { recursive: true, force: true });
rmSync(target('shell'), { recursive: true, force: true });

await bundle({
  ...common,
  entryPoints: { tapyard: source('cli/tapyard.ts') },
  outdir: target('cli'),
  format: 'esm',
  splitting: true,
  outExtension: { '.js': '.mjs' },
  chunkNames: 'chunks/[name]-[hash]',
  // ws is CommonJS and asks for Node's modules by require.
  banner: {
    js: "import { createRequire as _createRequire } from 'node:module'; const require = _createRequire(import.meta.url);",
  },
});
chmodSync(target('cli/tapyard.mjs'), 0o755);
// What the native front (native/command) says to a core; last, so that it never speaks for half a build.
writeFileSync(target('cli/build-id'), `${contract} ${build}\n`);

if (existsSync(source('shell/main.ts'))) {
  await bundle({
    ...common,
    entryPoints: { main: source('shell/main.ts') },
    outdir: target('shell'),
    format: 'cjs',
    outExtension: { '.js': '.cjs' },
    // What a CommonJS bundle has instead.
    define: { ...define, 'import.meta': '__meta' },
    banner: {
      js: "const __meta = { dirname: __dirname, filename: __filename, url: require('node:url').pathToFileURL(__filename).href };",
    },
  });
  await bundle({
    ...common,
    entryPoints: { preload: source('shell/preload.ts') },
    outdir: target('shell'),
    platform: 'browser',
    format: 'cjs',
    minify: true,
    outExtension: { '.js': '.cjs' },
  });
}
