// SPDX-License-Identifier: Apache-2.0

import { existsSync, readFileSync } from 'node:fs';

/**
 * @typedef {object} Count
 * @property {number} passed
 * @property {number} failed a skipped test counts here: it proves nothing
 * @property {boolean} ran whether the suite was started at all
 * @property {string} [note] what people should know besides
 *
 * @typedef {{code: number, output: string, report?: string}} Ended how a suite's
 *   program ended, and the path of its report
 */

/** @type {Count} */
export const NOTHING = { passed: 0, failed: 0, ran: false };

/**
 * A program that only says yes or no.
 *
 * @param {Ended} ended
 * @returns {Count}
 */
export function countChecks({ code }) {
  return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, ran: true };
}

/**
 * `cargo test` prints one summary for each test program. A test that runs its own program again, in a
 * namespace, prints that one's summary too: it names what it left out.
 *
 * @param {Ended} ended
 * @returns {Count}
 */
export function countRust({ code, output }) {
  let passed = 0;
  let failed = 0;
  let ignored = 0;
  for (const match of output.matchAll(
    /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored; \d+ measured; 0 filtered out/gm,
  )) {
    passed += Number(match[1]);
    failed += Number(match[2]);
    ignored += Number(match[3]);
  }
  return settle({ code, passed, failed, skipped: ignored });
}

/**
 * vitest's JSON report (the shape is jest's).
 *
 * @param {Ended} ended
 * @returns {Count}
 */
export function countVitest({ code, report }) {
  if (!report || !existsSync(report)) return settle({ code, passed: 0, failed: 0, skipped: 0 });
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } = JSON.parse(
    readFileSync(report, 'utf8'),
  );
  // A file that does not load has no tests, and a failing hook may fail none.
  const brokenFiles = testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  ).length;
  return settle({
    code,
    passed: numPassedTests,
    failed: numFailedTests + brokenFiles,
    skipped: numPendingTests + numTodoTests,
  });
}

/** A program that failed without a failed test (it crashed, or did not build) counts as one. */
function settle({ code, passed, failed, skipped }) {
  const crashed = code !== 0 && failed + skipped === 0;
  return {
    passed,
    failed: failed + skipped + (crashed ? 1 : 0),
    ran: true,
    note: crashed ? `failed with exit ${code}` : skipped > 0 ? `${skipped} skipped` : undefined,
  };
}
