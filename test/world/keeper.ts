// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { z } from '../../electron/contract/zod.ts';
import type { Who, World } from './world.ts';

const Process = z.looseObject({ pid: z.number() });
const Record = z.looseObject({ anchor: Process, keeper: Process, pasta: Process.nullable() });

function recordOf(world: World, who: Who): z.infer<typeof Record> {
  const file = `${world.runtimeDir(who)}/tapyard/labs/seed/netd/anchor.json`;
  return Record.parse(JSON.parse(readFileSync(file, 'utf8')));
}

/** The process that holds the namespaces of the lab `seed`, the user's unless told otherwise, in the private scope. */
export function keeperOf(world: World, who: Who = 'user'): number {
  return recordOf(world, who).keeper.pid;
}

/** The pasta of that lab, as last started. */
export function pastaOf(world: World): number | undefined {
  return recordOf(world, 'user').pasta?.pid;
}

/** Kills that lab's netd, and leaves what is to outlive it: its namespaces and pasta. */
export async function killNetd(world: World): Promise<void> {
  const { anchor, keeper } = recordOf(world, 'user');
  const netd = world
    .processes()
    .filter(({ pid, command }) => /tapyard-netd/.test(command) && ![anchor.pid, keeper.pid].includes(pid));
  if (netd.length === 0) throw new Error('no netd runs');
  // One half of it ends by itself when the other does.
  await world.run(['kill', '-KILL', ...netd.map(({ pid }) => String(pid))]);
}
