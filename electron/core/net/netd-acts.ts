// SPDX-License-Identifier: Apache-2.0
import { ErrorData } from '../../contract/error.ts';
import { LabName, NetworkName } from '../../contract/names.ts';
import { z } from '../../contract/zod.ts';

const count = z.number().int().nonnegative();

/** One change that netd made, tried to make or refused to make ("Acts" in docs/netd-protocol.md). */
export const NetdAct = z.object({
  /** Counts up from 1 within one run of netd. */
  seq: count,
  /** ms since 1970. */
  time: count,
  lab: LabName.nullable(),
  network: NetworkName.nullable(),
  /** Whoever is on a connection, or why netd did it by itself. */
  by: z.union([
    z.object({
      uid: count,
      pid: count,
      program: z.string(),
      client: z.enum(['core', 'tap', 'test']).nullable(),
    }),
    z.object({ cause: z.string() }),
  ]),
  what: z.string(),
  command: z.string().nullable(),
  /** The step of the lab's recipe that has the command. */
  recipe: z.enum(['filter']).optional(),
  error: ErrorData.nullable(),
});
export type NetdAct = z.infer<typeof NetdAct>;
