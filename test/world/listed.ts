// SPDX-License-Identifier: Apache-2.0
import { z } from '../../electron/contract/zod.ts';
import type { Who, World } from './world.ts';

/** What `tapyard ls --json` promises of a guest (issue: main job); other keys may be there. */
const ListedGuest = z.looseObject({
  name: z.string(),
  state: z.string(),
  pid: z.number().nullable(),
  accelerator: z.string().nullable(),
  nics: z.array(
    z.looseObject({
      network: z.string(),
      tap: z.string().nullable(),
      mac: z.string(),
      address: z.string().nullable(),
    }),
  ),
  sockets: z.strictObject({ serial: z.string(), vnc: z.string(), qmp: z.string() }),
  serialRecord: z.string(),
});
export type ListedGuest = z.infer<typeof ListedGuest>;

/** The guests that `tapyard ls --json` lists. */
export async function listGuests(world: World, who: Who = 'user'): Promise<ListedGuest[]> {
  const listing = await world.tapyard(['ls', '--json'], { as: who });
  return z.array(ListedGuest).parse(JSON.parse(listing.stdout));
}

/** The guest that is listed alone, running. */
export async function theRunningGuest(
  world: World,
  who: Who = 'user',
): Promise<ListedGuest & { pid: number }> {
  const [guest, ...others] = await listGuests(world, who);
  if (guest === undefined || guest.pid === null || others.length > 0) {
    throw new Error(`one running guest is wanted: ${JSON.stringify([guest, ...others])}`);
  }
  return { ...guest, pid: guest.pid };
}
