// SPDX-License-Identifier: Apache-2.0
import type { Connection } from '../../contract/client.ts';
import type { Run } from '../commands.ts';
import { jobDone, runJob } from '../job.ts';
import { labOf } from '../select-lab.ts';
import type { Terminal } from '../terminal.ts';

/** Brings a lab down and waits for it. @throws TapyardError what the job fails with */
export async function bringDown(
  connection: Connection,
  terminal: Terminal,
  lab: string,
  force: boolean,
): Promise<void> {
  const start = (): Promise<{ job: string }> => connection.client.lab.down({ lab, force });
  const end = await runJob(connection, terminal, lab, start, { cancellable: false });
  jobDone(end.row);
}

export const run: Run = (invocation) =>
  invocation.core(async (connection) => {
    const lab = await labOf(connection, invocation);
    await bringDown(connection, invocation.terminal, lab, invocation.options['force'] === true);
    invocation.terminal.out(`Lab ${lab} is down.\n`);
    return 0;
  });
