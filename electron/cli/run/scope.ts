// SPDX-License-Identifier: Apache-2.0
import { Scope } from '../../contract/names.ts';
import type { Run } from '../commands.ts';
import { jobDone, runJob } from '../job.ts';
import { rowsOf } from '../mirror.ts';
import { labOf } from '../select-lab.ts';

/** How long guests may take to their leases after a move, ms. */
const leaseDeadline = 60_000;

export const run: Run = (invocation) =>
  invocation.core(async (connection) => {
    const scope = Scope.parse(invocation.arguments[0]);
    const lab = await labOf(connection, invocation);
    const { client } = connection;
    const { terminal } = invocation;
    const row = async () => (await rowsOf(connection, client.tables.labs)).find((each) => each.name === lab);
    if ((await row())?.scope === scope) {
      terminal.out(`Lab ${lab} is in the ${scope} scope already.\n`);
      return 0;
    }
    const end = await runJob(
      connection,
      terminal,
      lab,
      () => client.lab.move({ lab, scope, waitReachable: leaseDeadline }),
      { cancellable: true },
    );
    jobDone(end.row);
    const state = (await row())?.state;
    terminal.out(
      state === 'down'
        ? `Lab ${lab} is down; from its next up on it is in the ${scope} scope.\n`
        : `Lab ${lab} is in the ${scope} scope.\n`,
    );
    return 0;
  });
