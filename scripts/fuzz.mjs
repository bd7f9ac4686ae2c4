// SPDX-License-Identifier: Apache-2.0

/**
 * Fuzzes every parser for longer than the tests do, from another place each time:
 *
 *   npm run fuzz              10 s a target
 *   npm run fuzz -- 600       ten minutes a target
 *
 * What fails is printed in hex; put it into test/fuzz/corpus/TARGET/ and mend the parser.
 */

import { join } from 'node:path';

import { run } from './lib/run.mjs';
import { cargoEnvironment } from './setup/rust.mjs';
import { CHECKOUT } from './setup/steps.mjs';

const seconds = Number(process.argv[2] ?? 10);
if (!(seconds > 0)) {
  console.error('usage: npm run fuzz -- SECONDS');
  process.exit(2);
}
const seed = String(Date.now() % 1_000_000);
console.log(`TAPYARD_FUZZ_SEED=${seed}`);
const env = { ...cargoEnvironment(), TAPYARD_FUZZ_SECONDS: String(seconds), TAPYARD_FUZZ_SEED: seed };
// Some targets are fed in turn, so this is more than one's share.
const deadline = (seconds * 60 + 600) * 1000;
const suites = [
  [
    'cargo',
    ['test', '--workspace', '--lib', '--bins', '--locked', 'any_bytes', '--', '--nocapture'],
    'native',
  ],
  [
    process.execPath,
    [join(CHECKOUT, 'node_modules/vitest/vitest.mjs'), 'run', '--project', 'unit', 'test/unit/fuzz'],
    '.',
  ],
];
let failed = false;
for (const [program, args, cwd] of suites) {
  const { code } = await run(program, args, { cwd: join(CHECKOUT, cwd), env, deadline, echo: true });
  failed ||= code !== 0;
}
process.exit(failed ? 1 : 0);
