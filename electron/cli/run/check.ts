// SPDX-License-Identifier: Apache-2.0
import process from 'node:process';
import { TapyardError } from '../../contract/error.ts';
import type { CheckResult } from '../../contract/rows.ts';
import type { Command } from '../../core/check/check.ts';
import { type AsRoot, mendCheck, ranInVain } from '../../core/check/mend.ts';
import { findProgram } from '../../core/host/programs.ts';
import type { Run } from '../commands.ts';
import { runProgram } from '../run-program.ts';
import { printJson, safe, safeLine, showError, type Terminal } from '../terminal.ts';

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const marks: Record<CheckResult['state'], string> = { ok: '✓', warning: '!', failed: '✗' };

/** The results for people, each with its fixes below it. */
export function checkText(results: readonly CheckResult[]): string {
  return results
    .map((result) => {
      const fixes = result.fixes.map(
        (fix) =>
          `    ${safeLine(fix.text)}\n${fix.command === undefined ? '' : `      ${safe(fix.command).replaceAll('\n', '\n      ')}\n`}`,
      );
      if (result.fixes.some((fix) => fix.mend !== undefined))
        fixes.push('    Or let it be done: tapyard check --mend\n');
      const words = result.state === 'ok' ? '' : ` (${result.state})`;
      return `${marks[result.state]} ${safeLine(result.title)}${words}: ${safeLine(result.found)}\n${fixes.join('')}`;
    })
    .join('');
}

/** sudo, on this terminal, with its own question. */
const bySudo: AsRoot = {
  asks: (command) => `As root, by sudo, which may ask for your password: ${command.join(' ')}`,
  async run(command, abort) {
    if (abort.aborted) throw stopped(command);
    const sudo = findProgram('sudo');
    if (sudo === undefined)
      throw new TapyardError('MEND_DENIED', 'sudo, which would run it as root, is not installed.', {
        hint: `What tapyard check shows, without sudo, in a shell of root’s (su -): ${command.join(' ')}`,
      });
    // Ctrl+C is for sudo, which puts the terminal back: it comes from the terminal, which both are on.
    const status = await runProgram([sudo, ...command], { passed: ['SIGTERM', 'SIGHUP'] });
    if (abort.aborted) throw stopped(command);
    if (status !== 0)
      throw ranInVain(command, 'what sudo or it said stands above.', { code: status, signal: null });
  },
};

const stopped = (command: Command): TapyardError =>
  new TapyardError('ABORTED', `${command.join(' ')} was stopped.`);

/** Mends what can be mended, one after the other, until it is told to end. @returns whether nothing failed */
async function mend(
  results: readonly CheckResult[],
  terminal: Terminal,
  signal: AbortSignal,
): Promise<boolean> {
  const broken = results.flatMap(({ title, fixes }) =>
    fixes.flatMap((fix) => (fix.mend === undefined ? [] : [{ title, check: fix.mend }])),
  );
  if (broken.length === 0) terminal.err('There is nothing here that tapyard check --mend can mend.\n');
  let all = true;
  for (const { title, check } of broken) {
    terminal.err(`Mending: ${safeLine(title)}\n`);
    const job = {
      progress: () => {},
      asks: (text: string) => terminal.err(`  ${text}\n`),
      signal,
    };
    try {
      await mendCheck(check, job, bySudo);
    } catch (thrown) {
      all = false;
      if (signal.aborted) break;
      showError(terminal, thrown, false);
    }
  }
  return all;
}

export const run: Run = ({ core, options, terminal }) =>
  core(async (connection) => {
    const look = async (): Promise<CheckResult[]> => (await connection.client.check.run({})).results;
    let results = await look();
    let mended = true;
    if (options['mend'] === true) {
      const end = new AbortController();
      const abort = (): void => end.abort();
      for (const name of signals) process.on(name, abort);
      mended = await mend(results, terminal, end.signal);
      for (const name of signals) process.off(name, abort);
      if (end.signal.aborted) {
        terminal.err('Stopped: nothing more is run. What there is now: tapyard check\n');
        return 130;
      }
      results = await look();
    }
    if (options['json'] === true) printJson(terminal, results);
    else terminal.out(checkText(results));
    return mended && results.every((result) => result.state !== 'failed') ? 0 : 1;
  });
