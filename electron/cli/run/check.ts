// SPDX-License-Identifier: Apache-2.0
import type { CheckResult } from '../../contract/rows.ts';
import type { Run } from '../commands.ts';
import { printJson, safe, safeLine } from '../terminal.ts';

const marks: Record<CheckResult['state'], string> = { ok: '✓', warning: '!', failed: '✗' };

/** The results for people, each with its fixes below it. */
export function checkText(results: readonly CheckResult[]): string {
  return results
    .map((result) => {
      const fixes = result.fixes.map(
        (fix) =>
          `    ${safeLine(fix.text)}\n${fix.command === undefined ? '' : `      ${safe(fix.command).replaceAll('\n', '\n      ')}\n`}`,
      );
      const words = result.state === 'ok' ? '' : ` (${result.state})`;
      return `${marks[result.state]} ${safeLine(result.title)}${words}: ${safeLine(result.found)}\n${fixes.join('')}`;
    })
    .join('');
}

export const run: Run = ({ core, options, terminal }) =>
  core(async (connection) => {
    const { results } = await connection.client.check.run({});
    if (options['json'] === true) printJson(terminal, results);
    else terminal.out(checkText(results));
    return results.some((result) => result.state === 'failed') ? 1 : 0;
  });
