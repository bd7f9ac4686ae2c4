// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { checkout, type World } from './world.ts';

/** Compiles test/world/NAME.c, static, and answers the path of the program, which goes with the world. */
export function compile(world: World, name: string): string {
  const program = path.join(world.dir, name);
  const source = path.join(checkout, `test/world/${name}.c`);
  const flags = ['-Wall', '-Wextra', '-Werror', '-O2', '-static', '-s'];
  const built = spawnSync('cc', [...flags, '-o', program, source], { encoding: 'utf8' });
  if (built.status !== 0) throw new Error(`cc: ${built.error?.message ?? built.stderr}`);
  return program;
}
