// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { z } from '../../electron/contract/zod.ts';
import type { Who, World } from './world.ts';

const Record = z.looseObject({ keeper: z.looseObject({ pid: z.number() }) });

/** The process that holds the namespaces of the lab `seed`, the user's unless told otherwise, in the private scope. */
export function keeperOf(world: World, who: Who = 'user'): number {
  const file = `${world.runtimeDir(who)}/tapyard/labs/seed/netd/anchor.json`;
  return Record.parse(JSON.parse(readFileSync(file, 'utf8'))).keeper.pid;
}
