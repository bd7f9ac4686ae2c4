// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { countChecks, countRust, countVitest } from '../../../scripts/test/count.mjs';

describe('countRust', () => {
  it('adds up the test programs', () => {
    const output = [
      'running 12 tests',
      'test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s',
      'test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.20s',
    ].join('\n');
    expect(countRust({ code: 101, output })).toMatchObject({ passed: 15, failed: 2, ran: true });
  });

  it('leaves out the summary of a test that runs its own program again', () => {
    const output = [
      'test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.19s',
      'test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.79s',
    ].join('\n');
    expect(countRust({ code: 0, output })).toMatchObject({ passed: 5, failed: 0 });
  });

  it('counts an ignored test as failed: it proves nothing', () => {
    const output = 'test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out';
    expect(countRust({ code: 0, output })).toMatchObject({ passed: 5, failed: 1, note: '1 skipped' });
  });

  it('counts a build that failed as one failure', () => {
    expect(countRust({ code: 101, output: 'error: could not compile `netd`' })).toMatchObject({
      passed: 0,
      failed: 1,
    });
  });
});

describe('countVitest', () => {
  let directory: string;
  let report: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'tapyard-report-'));
    report = join(directory, 'report.json');
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  const write = (passed: number, failed: number, pending: number, files: object[]): void =>
    writeFileSync(
      report,
      JSON.stringify({
        numPassedTests: passed,
        numFailedTests: failed,
        numPendingTests: pending,
        numTodoTests: 0,
        testResults: files,
      }),
    );

  it('reads the report', () => {
    write(7, 1, 0, [{ status: 'failed', assertionResults: [{ status: 'failed' }] }]);
    expect(countVitest({ code: 1, output: '', report })).toMatchObject({ passed: 7, failed: 1 });
  });

  it('counts a file that did not load, and a skipped test', () => {
    write(7, 0, 2, [{ status: 'failed', assertionResults: [] }]);
    expect(countVitest({ code: 1, output: '', report })).toMatchObject({ passed: 7, failed: 3 });
  });

  it('counts an error outside of any test', () => {
    write(7, 0, 0, [{ status: 'passed', assertionResults: [{ status: 'passed' }] }]);
    expect(countVitest({ code: 1, output: '', report })).toMatchObject({
      passed: 7,
      failed: 1,
      note: 'failed with exit 1',
    });
  });

  it('takes a missing report for a failure', () => {
    expect(countVitest({ code: 1, output: '', report })).toMatchObject({ passed: 0, failed: 1 });
  });
});

describe('countChecks', () => {
  it('is one, passed or failed', () => {
    expect(countChecks({ code: 0, output: '' })).toMatchObject({ passed: 1, failed: 0 });
    expect(countChecks({ code: 2, output: '' })).toMatchObject({ passed: 0, failed: 1 });
  });
});
