// SPDX-License-Identifier: Apache-2.0

import { existsSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';

/**
 * @typedef {object} Failure
 * @property {string} test its file and name, or its name alone
 * @property {string} why the first lines of what it said
 */

/** As much of a failure's words as the end of a run repeats, in lines. */
const LINES = 12;

/** ESC [ … m, with which programs colour their words. */
// eslint-disable-next-line no-control-regex
const COLOUR = /\u001b\[[0-9;]*m/g;

/**
 * The tests that failed according to vitest's JSON report, and the files that failed
 * without one (they did not load, or a hook failed).
 *
 * @param {string} report path of the report
 * @param {string} checkout to which the files' paths are told
 * @returns {(Failure & {file: string})[]} none if there is no report
 */
export function failuresOfVitest(report, checkout) {
  if (!existsSync(report)) return [];
  const { testResults } = JSON.parse(readFileSync(report, 'utf8'));
  return testResults.flatMap((file) => {
    const path = relative(checkout, file.name);
    const failed = file.assertionResults.filter((test) => test.status === 'failed');
    if (failed.length > 0)
      return failed.map((test) => ({
        file: path,
        test: `${path} > ${test.fullName}`,
        why: firstLines(test.failureMessages.join('\n')),
      }));
    return file.status === 'failed' ? [{ file: path, test: path, why: firstLines(file.message ?? '') }] : [];
  });
}

/**
 * The tests that failed according to what `cargo test` printed: it says
 * `---- NAME stdout ----`, then the test's words, one block for each.
 *
 * @param {string} output
 * @returns {Failure[]}
 */
export function failuresOfRust(output) {
  const plain = output.replace(COLOUR, '');
  return [...plain.matchAll(/^---- (\S+) stdout ----\n([\s\S]*?)(?=^---- |^failures:)/gm)].map(
    ([, test, why]) => ({ test, why: firstLines(why) }),
  );
}

/**
 * How many tests passed in a run of some of them by name.
 *
 * @param {string} output of `cargo test`
 * @returns {number}
 */
export function passedOfRust(output) {
  const summaries = output.matchAll(/^test result: ok\. (\d+) passed/gm);
  return [...summaries].reduce((sum, [, passed]) => sum + Number(passed), 0);
}

/**
 * A report in which the files that were run again speak as they did the second time.
 *
 * @param {object} first vitest's report of all files
 * @param {object} second that of those that were run again
 * @returns {object} a report with what countVitest() reads
 */
export function withSecondTry(first, second) {
  const again = new Map(second.testResults.map((file) => [file.name, file]));
  const testResults = first.testResults.map((file) => again.get(file.name) ?? file);
  const tests = testResults.flatMap((file) => file.assertionResults);
  const number = (...states) => tests.filter((test) => states.includes(test.status)).length;
  return {
    ...first,
    testResults,
    numPassedTests: number('passed'),
    numFailedTests: number('failed'),
    numPendingTests: number('pending', 'skipped', 'disabled'),
    numTodoTests: number('todo'),
  };
}

function firstLines(text) {
  const all = text.replace(COLOUR, '').trim().split('\n');
  const lines = all.filter((line) => !/^\s*at .*node_modules/.test(line));
  return lines.length > LINES ? [...lines.slice(0, LINES), '…'].join('\n') : lines.join('\n');
}
