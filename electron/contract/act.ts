// SPDX-License-Identifier: Apache-2.0
import { ErrorData } from './error.ts';
import { z } from './zod.ts';

/** One thing that the network helper did for a lab, tried to do, or refused to do. */
export const ActRow = z.strictObject({
  id: z.string(),
  lab: z.string(),
  /** Counts up within the lab. */
  order: z.number(),
  /** ms since 1970. */
  time: z.number(),
  /** Id of the network that it was done for. */
  network: z.string().nullable(),
  /** Who asked for it; null where the helper did it by itself, and `cause` says why. */
  by: z
    .strictObject({
      uid: z.number(),
      user: z.string(),
      pid: z.number(),
      /** What the process called itself. */
      program: z.string(),
      /** What it said that it is: Tapyard's core, or `tapyard-tap`, which brings a guest its taps. */
      client: z.enum(['core', 'tap', 'test']).nullable(),
    })
    .nullable(),
  cause: z.string().nullable(),
  /** One line in plain words. */
  what: z.string(),
  /** What a user would type to the same end, a command a line; null where there is none. */
  command: z.string().nullable(),
  /** Why it was not done; null where it was. */
  error: ErrorData.nullable(),
});
export type ActRow = z.infer<typeof ActRow>;

/** Who did it and why, for people: "ada (core, node 4711)", "helper: somebody changed the firewall". */
export function actBy({ by, cause }: ActRow): string {
  if (by === null) return `helper: ${cause ?? 'by itself'}`;
  const process = `${by.program === '' ? 'process' : by.program} ${by.pid}`;
  return `${by.user} (${by.client === null ? '' : `${by.client}, `}${process})`;
}
