// SPDX-License-Identifier: Apache-2.0
import type { StepRow } from '../../contract/rows.ts';
import type { Run } from '../commands.ts';
import { rowsOf } from '../mirror.ts';
import { labOf } from '../select-lab.ts';
import { adviceText, duration, safe, safeLine } from '../terminal.ts';

const marks: Record<StepRow['state'], string> = { pending: '·', doing: '…', done: '✓', failed: '✗' };

/** One step for people: mark, title, time, what holds, the command, the error. */
export function stepText(step: StepRow): string {
  const facts = [
    // What the guest does by itself is not seen from here, so it is not said to be pending.
    step.state === 'done' || (step.by !== null && step.holds === null) ? undefined : step.state,
    step.ms === null ? undefined : duration(step.ms),
    step.by ?? undefined,
    step.holds === null ? undefined : step.holds ? 'holds now' : 'does not hold now',
  ].filter((fact) => fact !== undefined);
  const command =
    step.command === '' ? '' : `    ${safe(step.command).trimEnd().replaceAll('\n', '\n    ')}\n`;
  const error =
    step.error === null ? '' : `    ${safeLine(step.error.message)}\n${adviceText(step.error, '    ')}`;
  return `${marks[step.state]} ${safeLine(step.title)}${facts.length === 0 ? '' : `  (${safeLine(facts.join(', '))})`}\n${command}${error}`;
}

export const run: Run = (invocation) =>
  invocation.core(async (connection) => {
    const lab = await labOf(connection, invocation);
    // Also for its steps: it finds out what a guest would be started with.
    const { script } = await connection.client.recipe.script({ lab });
    if (invocation.options['shell'] === true) {
      invocation.terminal.out(safe(script));
      return 0;
    }
    const steps = (await rowsOf(connection, connection.client.tables.steps))
      .filter((step) => step.lab === lab)
      .sort((left, right) => left.order - right.order);
    invocation.terminal.out(steps.map(stepText).join(''));
    return 0;
  });
