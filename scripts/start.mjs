// SPDX-License-Identifier: Apache-2.0

/**
 * `npm start`: sets the checkout up and opens the tutorial's lab. Arguments go
 * to `tapyard open --demo`.
 */

import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { endChildrenOnInterrupt } from './lib/run.mjs';
import { setUp } from './setup/set-up.mjs';
import { CHECKOUT } from './setup/steps.mjs';

const letGo = endChildrenOnInterrupt();
if (await setUp({ purpose: 'start' })) {
  letGo();
  // In this process and not as a child: the terminal and its signals are then
  // the command's alone, and what Ctrl+C does to the guests is its question to ask.
  const program = join(CHECKOUT, 'dist/cli/tapyard.mjs');
  process.argv = [process.execPath, program, 'open', '--demo', ...process.argv.slice(2)];
  await import(pathToFileURL(program).href);
} else {
  process.exitCode = 1;
}
