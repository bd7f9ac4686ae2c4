// SPDX-License-Identifier: Apache-2.0

/**
 * Runs the suites one after another and goes on past one that fails.
 * The last line is `N passed, N failed`; exit 1 if anything failed or did not run.
 *
 *   npm test                  all suites
 *   npm test -- unit net      these
 *   npm test -- unit -- FILTER…   only test files whose path holds a FILTER (vitest suites)
 */

import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { asItIs, rootWrapper } from './lib/root.mjs';
import { endChildrenOnInterrupt, run } from './lib/run.mjs';
import { duration } from './lib/step.mjs';
import { setUp } from './setup/set-up.mjs';
import { CHECKOUT } from './setup/steps.mjs';
import { cargoEnvironment } from './setup/rust.mjs';
import { countChecks, countRust, countVitest, NOTHING } from './test/count.mjs';

const MINUTE = 60_000;

/** CI stops a job after 90 minutes without a word; better to stop first and say why. */
const TOTAL_DEADLINE = 86 * MINUTE;

const RESULTS = join(CHECKOUT, 'test-results');

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
  },
  vitestSuite('unit', 5, false),
  vitestSuite('net', 15, true),
  vitestSuite('guest', 20, true),
  vitestSuite('ui', 20, true),
];

function vitestSuite(name, deadline, needsRoot) {
  const report = join(RESULTS, `${name}.json`);
  return {
    name,
    deadline,
    needsRoot,
    command: [
      process.execPath,
      join(CHECKOUT, 'node_modules/vitest/vitest.mjs'),
      'run',
      '--project',
      name,
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${report}`,
    ],
    takesFilters: true,
    report,
    count: countVitest,
  };
}

/** Whether PATH of an environment has a program. */
function onPath(program, environment) {
  return (environment.PATH ?? '').split(':').some((folder) => existsSync(join(folder, program)));
}

/** @returns {Promise<import('./test/count.mjs').Count>} */
async function runSuite(suite, filters, asRoot, remaining) {
  const missing = (suite.needs ?? []).filter((program) => !onPath(program, suite.env?.() ?? process.env));
  if (missing.length > 0) return { ...NOTHING, note: `not run: no ${missing.join(', ')}` };
  const wrap = suite.needsRoot ? asRoot : asItIs;
  if (!wrap) return { ...NOTHING, note: 'not run: it needs root, or sudo without a password' };
  const deadline = Math.min(suite.deadline * MINUTE, remaining);
  if (deadline <= 0) return { ...NOTHING, note: 'not run: no time was left' };
  // A report of last time must not speak for a run that wrote none.
  if (suite.report) rmSync(suite.report, { force: true });
  const [program, ...args] = wrap([...suite.command, ...(suite.takesFilters ? filters : [])]);
  const { code, output, late } = await run(program, args, {
    cwd: join(CHECKOUT, suite.cwd ?? '.'),
    env: { ...(suite.env?.() ?? process.env), FORCE_COLOR: process.stdout.isTTY ? '1' : '0' },
    deadline,
    echo: true,
  });
  const count = suite.count({ code, output, report: suite.report });
  if (wrap !== asItIs)
    await run('sudo', ['-n', 'chown', '-R', `${process.getuid()}:${process.getgid()}`, RESULTS], {
      deadline: MINUTE,
    });
  if (late) return { ...count, failed: count.failed + 1, note: `stopped after ${duration(deadline)}` };
  return count;
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
    // Without root at a desk a suite may stay out; in CI that would hide it for ever.
    const mustCount = result.ran || process.env.CI;
    const empty = result.passed + result.failed === 0 && mustCount;
    results.push({
      name: suite.name,
      ...result,
      failed: result.failed + (empty ? 1 : 0),
      note: result.note ?? (empty ? 'no test ran' : undefined),
      ms: performance.now() - started,
    });
  }
  return conclude(results);
}

/** Prints what came of it; the exit code. */
function conclude(results) {
  writeFileSync(join(RESULTS, 'summary.json'), `${JSON.stringify(results, null, 2)}\n`);
  const sum = (key) => results.reduce((total, result) => total + result[key], 0);
  console.log(`\n${table(results)}\n\n${sum('passed')} passed, ${sum('failed')} failed`);
  return sum('failed') > 0 ? 1 : 0;
}

process.exitCode = await main(process.argv.slice(2));
