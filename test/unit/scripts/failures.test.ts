// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { countVitest } from '../../../scripts/test/count.mjs';
import {
  failuresOfRust,
  failuresOfVitest,
  passedOfRust,
  withSecondTry,
} from '../../../scripts/test/failures.mjs';

const test = (fullName: string, status: string, failureMessages: string[] = []): object => ({
  fullName,
  status,
  failureMessages,
});

const FIRST = {
  numPassedTests: 2,
  numFailedTests: 1,
  numPendingTests: 0,
  numTodoTests: 0,
  testResults: [
    {
      name: '/checkout/test/net/a.test.ts',
      status: 'failed',
      assertionResults: [
        test('a goes', 'failed', ['\u001b[31mexpected\u001b[0m 1']),
        test('a stays', 'passed'),
      ],
    },
    { name: '/checkout/test/net/b.test.ts', status: 'passed', assertionResults: [test('b', 'passed')] },
  ],
};

describe('what vitest’s report says failed', () => {
  let directory: string;
  let report: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'tapyard-report-'));
    report = join(directory, 'report.json');
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it('is each test with its file, and its words without colour', () => {
    writeFileSync(report, JSON.stringify(FIRST));
    expect(failuresOfVitest(report, '/checkout')).toEqual([
      { file: 'test/net/a.test.ts', test: 'test/net/a.test.ts > a goes', why: 'expected 1' },
    ]);
  });

  it('is the file where no test of it failed', () => {
    const file = {
      name: '/checkout/c.test.ts',
      status: 'failed',
      message: 'no such module',
      assertionResults: [],
    };
    writeFileSync(report, JSON.stringify({ testResults: [file] }));
    expect(failuresOfVitest(report, '/checkout')).toEqual([
      { file: 'c.test.ts', test: 'c.test.ts', why: 'no such module' },
    ]);
  });

  it('is nothing where there is no report', () => {
    expect(failuresOfVitest(report, '/checkout')).toEqual([]);
  });

  it('is settled by a second try of the file, either way', () => {
    const again = (status: string): object => ({
      testResults: [
        {
          name: '/checkout/test/net/a.test.ts',
          status,
          assertionResults: [test('a goes', status), test('a stays', 'passed')],
        },
      ],
    });
    writeFileSync(report, JSON.stringify(withSecondTry(FIRST, again('passed'))));
    expect(countVitest({ code: 0, output: '', report })).toMatchObject({ passed: 3, failed: 0 });
    writeFileSync(report, JSON.stringify(withSecondTry(FIRST, again('failed'))));
    expect(countVitest({ code: 1, output: '', report })).toMatchObject({ passed: 2, failed: 1 });
  });
});

describe('what cargo test says failed', () => {
  const output = [
    'running 2 tests',
    '..',
    'failures:',
    '',
    '---- nat_off_cuts stdout ----',
    'thread panicked at netd/tests/filter.rs:10:5:',
    '2 connections',
    '',
    '---- other::one stdout ----',
    'no',
    '',
    '',
    'failures:',
    '    nat_off_cuts',
    '    other::one',
    '',
    'test result: FAILED. 0 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.19s',
  ].join('\n');

  it('is each test by name, with its words', () => {
    expect(failuresOfRust(output)).toEqual([
      { test: 'nat_off_cuts', why: 'thread panicked at netd/tests/filter.rs:10:5:\n2 connections' },
      { test: 'other::one', why: 'no' },
    ]);
  });

  it('passes at the second try when each of them does', () => {
    const again =
      'test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.19s\n' +
      'test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.19s\n';
    expect(passedOfRust(again)).toBe(2);
  });
});
