// SPDX-License-Identifier: Apache-2.0

import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const checkout = join(dirname(fileURLToPath(import.meta.url)), '../..');

/**
 * What the bundler has to define so that the programs know their contract's hash and need not work it out from
 * all schemas at each start.
 *
 * @returns {Promise<Record<string, string>>}
 */
export async function contractHashDefine() {
  const { outputFiles } = await build({
    absWorkingDir: checkout,
    entryPoints: ['electron/contract/hash.ts'],
    bundle: true,
    platform: 'node',
    format: 'esm',
    write: false,
  });
  const code = Buffer.from(outputFiles[0].contents).toString('base64');
  const { contractHash } = await import(`data:text/javascript;base64,${code}`);
  return { TAPYARD_CONTRACT_HASH: JSON.stringify(contractHash()) };
}
