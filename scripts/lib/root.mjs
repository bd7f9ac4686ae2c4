// SPDX-License-Identifier: Apache-2.0

import { run } from './run.mjs';

/** A command that is run as root already. */
export const asItIs = (command) => command;

/**
 * How a command is run as root: as it is, through sudo when that asks for no
 * password, or not at all.
 *
 * @returns {Promise<((command: string[]) => string[]) | undefined>}
 */
export async function rootWrapper() {
  if (process.getuid() === 0) return asItIs;
  const { code } = await run('sudo', ['-n', 'true'], { deadline: 5000 });
  if (code !== 0) return undefined;
  // sudo clears the environment; these few matter to the suites.
  const kept = ['PATH', 'CI']
    .filter((name) => process.env[name])
    .map((name) => `${name}=${process.env[name]}`);
  return (command) => ['sudo', '-n', 'env', ...kept, ...command];
}
