// SPDX-License-Identifier: Apache-2.0
import type { RunningCore } from '../core/host/election.ts';

/** Loads the core and starts it, with the brief commands: only the process that hosts it pays for its code. */
export async function startCore(): Promise<RunningCore> {
  const [{ createCore }, { briefCommands }] = await Promise.all([
    import('../core/core.ts'),
    import('./brief.ts'),
  ]);
  return createCore({ command: briefCommands() });
}
