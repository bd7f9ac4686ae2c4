// SPDX-License-Identifier: Apache-2.0

/**
 * Makes a checkout ready to run: the distribution's packages, npm's, the
 * network helper, the micro guest and the bundles. Says what it does and why
 * before it does it; what is there already is left alone.
 *
 *   node scripts/setup.mjs [--for start|test|bench] [--dry-run]
 */

import { parseArgs } from 'node:util';

import { endChildrenOnInterrupt } from './lib/run.mjs';
import { PURPOSES, setUp } from './setup/set-up.mjs';

let options;
try {
  options = parseArgs({
    options: { for: { type: 'string', default: 'start' }, 'dry-run': { type: 'boolean', default: false } },
  }).values;
  if (!PURPOSES.includes(options.for)) throw new TypeError(`--for takes ${PURPOSES.join(', ')}`);
} catch (error) {
  console.error(`${error.message}\nUsage: npm run setup -- [--for ${PURPOSES.join('|')}] [--dry-run]`);
  process.exit(2);
}
endChildrenOnInterrupt();
const ready = await setUp({ purpose: options.for, dryRun: options['dry-run'] });
process.exitCode = ready ? 0 : 1;
