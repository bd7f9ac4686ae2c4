// SPDX-License-Identifier: Apache-2.0
import type { RunningCore } from './election.ts';

/** Loads the core and starts it: only the process that hosts it pays for its code. */
export async function startCore(): Promise<RunningCore> {
  const { createCore } = await import('../core.ts');
  return createCore({});
}
