// SPDX-License-Identifier: Apache-2.0

import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { digest } from './inputs.mjs';

const checkout = join(dirname(fileURLToPath(import.meta.url)), '../..');

/**
 * Which build this is: a hash of everything that the command, and the core that does its brief ones, are made of.
 * The contract's hash would not do: a new option of a command does not change the contract.
 *
 * @returns {string} 16 hex digits
 */
export function buildId() {
  return digest(checkout, ['electron', 'package.json', 'package-lock.json', 'scripts/build.mjs']).slice(
    0,
    16,
  );
}
