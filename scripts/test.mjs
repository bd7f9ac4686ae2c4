// SPDX-License-Identifier: Apache-2.0

/**
 * Runs the suites one after another and goes on past one that fails. What failed is repeated at the end.
 *
 * The suites with real kernels, guests and browsers have a second try for a few failed tests: a machine
 * that stood still for seconds is not a defect of Tapyard. A test that needed it is a defect of the test,
 * and is named at the end.
 *
 * The last line is `N passed, N failed`; exit 1 if anything failed, or did not run
 * that was asked for by its name or in CI.
 *
 *   npm test                  all suites
 *   npm test -- unit net      these
 *   npm test -- unit -- FILTER…   only test files whose path holds a FILTER (vitest suites)
 */

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { asItIs, rootWrapper } from './lib/root.mjs';
import { endChildrenOnInterrupt, run } from './lib/run.mjs';
import { duration } from './lib/step.mjs';
import { setUp } from './setup/set-up.mjs';
import { CHECKOUT } from './setup/steps.mjs';
import { lacksNewerDebian } from './setup/newer-debian.mjs';
import { lacksNewerDocker } from './setup/newer-docker.mjs';
import { lacksOldElectron } from './setup/old-electron.mjs';
import { lacksStockKernels } from './setup/stock-kernels.mjs';
import { cargoEnvironment } from './setup/rust.mjs';
import { countChecks, countRust, countVitest, NOTHING } from './test/count.mjs';
import { failuresOfRust, failuresOfVitest, passedOfRust, withSecondTry } from './test/failures.mjs';

const MINUTE = 60_000;

/** CI stops a job after 90 minutes without a word; better to stop first and say why. */
const TOTAL_DEADLINE = 86 * MINUTE;

/** More failed tests than this are no accident, and none of them is tried again. */
const SECOND_TRIES = 4;

const RESULTS = join(CHECKOUT, 'test-results');

/** The parts of the suite `newer`, and what tells why one cannot be run here. */
const NEWER = [
  { files: 'test/newer/!(docker).test.ts', lacks: lacksNewerDebian },
  { files: 'test/newer/docker.test.ts', lacks: lacksNewerDocker },
];

/** The parts of a suite that cannot be run here, and why. */
function lackingParts(parts = []) {
  return parts.flatMap(({ files, lacks }) => {
    const why = lacks();
    return why ? [{ files, why }] : [];
  });
}

/**
 * Root is needed by those that make network namespaces which belong to no user
 * namespace, as a host's does.
 */
const SUITES = [
  { name: 'types', deadline: 5, command: ['npm', 'run', '-s', 'check:types'], count: countChecks },
  { name: 'lint', deadline: 5, command: ['npm', 'run', '-s', 'check:lint'], count: countChecks },
  { name: 'format', deadline: 5, command: ['npm', 'run', '-s', 'check:format'], count: countChecks },
  {
    name: 'clippy',
    deadline: 15,
    command: ['npm', 'run', '-s', 'check:rust'],
    env: cargoEnvironment,
    // Debian's cargo comes without them.
    needs: ['cargo-clippy', 'cargo-fmt'],
    count: countChecks,
  },
  {
    name: 'rust',
    deadline: 25,
    cwd: 'native',
    command: ['cargo', 'test', '--workspace', '--locked', '--no-fail-fast', '--quiet'],
    // By itself cargo test tries a sample of the points at which netd can be killed.
    env: () => ({ TAPYARD_FAULT_EVERY: '1', ...cargoEnvironment() }),
    count: countRust,
    failures: ({ output }) => failuresOfRust(output),
    again: rustAgain,
    // The one course of the fault matrix that needs root; all others make user namespaces of their own.
    leavesOut: () => process.getuid() !== 0 && 'NOT RUN: killing a netd that root lent (it needs root)',
  },
  vitestSuite('unit', 5, false),
  { ...vitestSuite('net', 15, true), again: vitestAgain },
  { ...vitestSuite('guest', 20, true), again: vitestAgain },
  // What it lacks comes from elsewhere, and its absence must not stop everybody: it is said, not counted.
  { ...vitestSuite('kernel', 20, true), again: vitestAgain, lacks: lacksStockKernels },
  {
    ...vitestSuite('newer', 15, true),
    again: vitestAgain,
    parts: NEWER,
    leavesOut: () => {
      const lacking = lackingParts(NEWER);
      return lacking.length < NEWER.length && lacking.map(({ why }) => `NOT RUN: ${why}`).join('; ');
    },
  },
  { ...vitestSuite('ui', 20, true), again: vitestAgain },
  { ...vitestSuite('shell', 10, true), again: vitestAgain, lacks: lacksOldElectron },
];

function vitestSuite(name, deadline, needsRoot) {
  const report = join(RESULTS, `${name}.json`);
  return {
    name,
    deadline,
    needsRoot,
    command: vitest(name, report),
    takesFilters: true,
    report,
    count: countVitest,
    failures: () => failuresOfVitest(report, CHECKOUT),
  };
}

function vitest(project, report) {
  return [
    process.execPath,
    join(CHECKOUT, 'node_modules/vitest/vitest.mjs'),
    'run',
    '--project',
    project,
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
  ];
}

/** Runs the files that failed a second time. @returns the suite's count with what came of them. */
async function vitestAgain({ name, report }, failures, _first, runIt) {
  const second = join(RESULTS, `${name}.again.json`);
  rmSync(second, { force: true });
  const files = [...new Set(failures.map(({ file }) => file))];
  const { code } = await runIt([...vitest(name, second), ...files]);
  if (!existsSync(second)) return countVitest({ code: 1, report });
  writeFileSync(report, JSON.stringify(withSecondTry(readJson(report), readJson(second))));
  return countVitest({ code, report });
}

function readJson(path) {
  return JSON.parse(readFileSync(path, 'utf8'));
}

/** Runs the tests that failed a second time, by their names. @returns as vitestAgain() */
async function rustAgain({ command }, failures, first, runIt) {
  const { code, output } = await runIt([...command, '--', '--exact', ...failures.map(({ test }) => test)]);
  const count = countRust(first);
  const passed = code === 0 ? passedOfRust(output) : 0;
  if (passed < failures.length) return count;
  return { ...count, passed: count.passed + failures.length, failed: count.failed - failures.length };
}

/** Whether PATH of an environment has a program. */
function onPath(program, environment) {
  return (environment.PATH ?? '').split(':').some((folder) => existsSync(join(folder, program)));
}

/** @returns {Promise<import('./test/count.mjs').Count>} */
async function runSuite(suite, filters, asRoot, remaining) {
  const missing = (suite.needs ?? []).filter((program) => !onPath(program, suite.env?.() ?? process.env));
  if (missing.length > 0) return { ...NOTHING, note: `not run: no ${missing.join(', ')}` };
  const lacking = lackingParts(suite.parts);
  const lacksAll = lacking.length > 0 && lacking.length === suite.parts.length;
  const lack = suite.lacks?.() ?? (lacksAll && lacking.map(({ why }) => why).join('; '));
  if (lack) return { ...NOTHING, note: `NOT RUN: ${lack}`, excused: true };
  const wrap = suite.needsRoot ? asRoot : asItIs;
  if (!wrap) return { ...NOTHING, note: 'not run: it needs root, or sudo without a password' };
  const deadline = Math.min(suite.deadline * MINUTE, remaining);
  if (deadline <= 0) return { ...NOTHING, note: 'not run: no time was left' };
  // A report of last time must not speak for a run that wrote none.
  if (suite.report) rmSync(suite.report, { force: true });
  const until = performance.now() + deadline;
  const runIt = async (command) => {
    const [program, ...args] = wrap(command);
    const ended = await run(program, args, {
      cwd: join(CHECKOUT, suite.cwd ?? '.'),
      env: { ...(suite.env?.() ?? process.env), FORCE_COLOR: process.stdout.isTTY ? '1' : '0' },
      deadline: until - performance.now(),
      echo: true,
    });
    if (wrap !== asItIs)
      await run('sudo', ['-n', 'chown', '-R', `${process.getuid()}:${process.getgid()}`, RESULTS], {
        deadline: MINUTE,
      });
    return ended;
  };
  const { late, ...rest } = await runIt([
    ...suite.command,
    ...lacking.flatMap(({ files }) => ['--exclude', files]),
    ...(suite.takesFilters ? filters : []),
  ]);
  const first = { ...rest, report: suite.report };
  const failures = suite.failures?.(first) ?? [];
  if (late) {
    const count = suite.count(first);
    return { ...count, failed: count.failed + 1, failures, note: `stopped after ${duration(deadline)}` };
  }
  if (!suite.again || failures.length === 0 || failures.length > SECOND_TRIES)
    return { ...suite.count(first), failures };
  console.log(`\n── ${suite.name}, a second try of what failed ${'─'.repeat(40)}`);
  const count = await suite.again(suite, failures, first, runIt);
  if (count.failed > 0) return { ...count, failures };
  return { ...count, secondTry: failures, note: `${failures.length} at the second try` };
}

/** What failed, and what needed a second try, with the first lines of its words. */
function told(results, key, heading) {
  const lines = results.flatMap((result) =>
    (result[key] ?? []).map(({ test, why }) => `  ${result.name}: ${test}\n${why.replace(/^/gm, '      ')}`),
  );
  return lines.length > 0 ? `\n${heading}\n${lines.join('\n')}\n` : '';
}

function table(results) {
  const lines = results.map(({ name, passed, failed, note, ms }) =>
    [
      name.padEnd(8),
      String(passed).padStart(6),
      String(failed).padStart(7),
      duration(ms).padStart(12),
      note ? `  ${note}` : '',
    ].join(''),
  );
  return ['suite   passed failed        time', ...lines].join('\n');
}

async function main(args) {
  const split = args.includes('--') ? args.indexOf('--') : args.length;
  const wanted = args.slice(0, split);
  const filters = args.slice(split + 1);
  const unknown = wanted.find((name) => !SUITES.some((suite) => suite.name === name));
  if (unknown) {
    console.error(`There is no suite ${unknown}; there are: ${SUITES.map((suite) => suite.name).join(', ')}`);
    return 2;
  }
  const began = performance.now();
  endChildrenOnInterrupt();
  mkdirSync(RESULTS, { recursive: true });

  const results = [];
  if (!(await setUp({ purpose: 'test', goOn: true }))) {
    results.push({ name: 'set-up', ...NOTHING, failed: 1, ms: performance.now() - began });
    if (!existsSync(join(CHECKOUT, 'node_modules/.package-lock.json'))) return conclude(results);
  }
  const asRoot = await rootWrapper();
  for (const suite of SUITES.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
    console.log(`\n── ${suite.name} ${'─'.repeat(70 - suite.name.length)}`);
    const started = performance.now();
    const result = await runSuite(suite, filters, asRoot, TOTAL_DEADLINE - (started - began));
    // Without root at a desk a suite may stay out, unless it was asked for; in CI that would hide it for ever.
    const asked = process.env.CI || wanted.includes(suite.name);
    const mustCount = result.ran || (asked && !result.excused);
    const empty = result.passed + result.failed === 0 && mustCount;
    results.push({
      name: suite.name,
      ...result,
      failed: result.failed + (empty ? 1 : 0),
      note: [result.note ?? (empty && 'no test ran'), suite.leavesOut?.()].filter(Boolean).join('; '),
      ms: performance.now() - started,
    });
  }
  return conclude(results);
}

/** Prints what came of it; the exit code. */
function conclude(results) {
  writeFileSync(join(RESULTS, 'summary.json'), `${JSON.stringify(results, null, 2)}\n`);
  const sum = (key) => results.reduce((total, result) => total + result[key], 0);
  process.stdout.write(told(results, 'failures', 'Failed:'));
  process.stdout.write(
    told(results, 'secondTry', 'Failed, and passed at the second try (mend these tests):'),
  );
  console.log(`\n${table(results)}\n\n${sum('passed')} passed, ${sum('failed')} failed`);
  return sum('failed') > 0 ? 1 : 0;
}

process.exitCode = await main(process.argv.slice(2));
