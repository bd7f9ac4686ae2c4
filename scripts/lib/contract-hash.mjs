// SPDX-License-Identifier: Apache-2.0

import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const checkout = join(dirname(fileURLToPath(import.meta.url)), '../..');

/**
 * The contract's hash as the programs would work it out from all schemas at each start.
 *
 * @returns {Promise<string>}
 */
export async function contractHash() {
  const { outputFiles } = await build({
    absWorkingDir: checkout,
    entryPoints: ['electron/contract/hash.ts'],
    bundle: true,
    platform: 'node',
    format: 'esm',
    write: false,
  });
  const code = Buffer.from(outputFiles[0].contents).toString('base64');
  const hash = await import(`data:text/javascript;base64,${code}`);
  return hash.contractHash();
}
