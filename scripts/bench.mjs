// SPDX-License-Identifier: Apache-2.0

/**
 * Measures, one bench after another, and prints one table: what, the figure, the other side of the same run,
 * their ratio, what is aimed at and whether it is met. Nothing is asserted: a figure that misses its aim is no
 * failure. All of it is kept in dist/bench/results.json.
 *
 *   npm run bench                    all benches
 *   npm run bench -- network core    these
 *
 * A machine that does other work meanwhile gives figures that are not worth much; ratios suffer least.
 */

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';

import { rootWrapper } from './lib/root.mjs';
import { endChildrenOnInterrupt, run } from './lib/run.mjs';
import { duration, lastLines } from './lib/step.mjs';
import { setUp } from './setup/set-up.mjs';
import { CHECKOUT } from './setup/steps.mjs';

const MINUTE = 60_000;
const OUT = join(CHECKOUT, 'dist/bench');

/** Each `test/bench/NAME-bench.ts` measures and writes its figures; `inside` is what it runs in its world. */
const BENCHES = [
  { name: 'network', deadline: 10, inside: ['network-inside'] },
  { name: 'forward', deadline: 5, inside: [] },
  { name: 'scale', deadline: 10, inside: ['scale-inside', 'virsh-inside'] },
  { name: 'guest', deadline: 8, inside: ['guest-inside'] },
  { name: 'renderer', deadline: 20, inside: ['map-bench'] },
  { name: 'core', deadline: 5, inside: [] },
];

async function bundle(benches) {
  // Loaded late: set-up may have to install it first.
  const { build } = await import('esbuild');
  const names = benches.flatMap(({ name, inside }) => [`${name}-bench`, ...inside]);
  await build({
    absWorkingDir: CHECKOUT,
    entryPoints: names.map((name) => `test/bench/${name}.ts`),
    outdir: OUT,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'warning',
  });
}

/** A line of the table that says why there is no figure. */
const nothing = (name, note) => [{ what: name, unit: '', figure: null, aim: null, met: null, note }];

/** @returns {Promise<import('../test/bench/figures.ts').Figure[]>} */
async function measure({ name, deadline }, asRoot) {
  // All of them make network namespaces that belong to no user namespace, as a host's does.
  if (!asRoot) return nothing(name, 'not measured: it needs root, or sudo without a password');
  const json = join(OUT, `${name}.json`);
  // Figures of last time must not speak for a run that wrote none.
  rmSync(json, { force: true });
  const [program, ...args] = asRoot([process.execPath, join(OUT, `${name}-bench.mjs`), '--json', json]);
  const { code, output, late } = await run(program, args, {
    cwd: CHECKOUT,
    deadline: deadline * MINUTE,
    echo: true,
  });
  if (late) return nothing(name, `not measured: stopped after ${deadline} minutes`);
  if (code !== 0 || !existsSync(json)) return nothing(name, `not measured: ${lastLines(output)}`);
  return JSON.parse(readFileSync(json, 'utf8'));
}

const number = (value, unit) => (value === null || value === undefined ? '–' : `${value} ${unit}`);

function row({ what, unit, figure, p95, beside, ratio, aim, met }) {
  return [
    what,
    `${number(figure, unit)}${p95 === undefined ? '' : ` (p95 ${p95})`}`,
    beside ? `${beside.what}: ${number(beside.figure, unit)}` : '',
    ratio === undefined ? '' : `${ratio}×`,
    aim ?? '',
    met === null ? '' : met ? 'yes' : 'NO',
  ];
}

/** The table as text: columns as wide as they must be, and each note in a line of its own below. */
function table(figures) {
  const head = ['what', 'figure (median)', 'beside', 'ratio', 'aim', 'met'];
  const rows = [head, ...figures.map(row)];
  const widths = head.map((_, column) => Math.max(...rows.map((cells) => cells[column].length)));
  const line = (cells) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column]))
      .join('  ')
      .trimEnd();
  return [
    line(head),
    widths.map((width) => '─'.repeat(width)).join('  '),
    ...figures.flatMap((figure) => [
      line(row(figure)),
      ...(figure.note ? figure.note.split('\n').map((text) => `    ${text}`) : []),
    ]),
  ].join('\n');
}

async function main(wanted) {
  const unknown = wanted.find((name) => !BENCHES.some((bench) => bench.name === name));
  if (unknown) {
    const names = BENCHES.map(({ name }) => name).join(', ');
    console.error(`There is no bench ${unknown}; there are: ${names}`);
    return 2;
  }
  endChildrenOnInterrupt();
  if (!(await setUp({ purpose: 'bench' }))) return 1;
  const benches = BENCHES.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
  mkdirSync(OUT, { recursive: true });
  await bundle(benches);

  const asRoot = await rootWrapper();
  const load = loadavg()[0];
  const figures = [];
  for (const bench of benches) {
    console.log(`\n── ${bench.name} ${'─'.repeat(70 - bench.name.length)}`);
    const began = performance.now();
    figures.push(...(await measure(bench, asRoot)).map((figure) => ({ bench: bench.name, ...figure })));
    console.log(`(${duration(performance.now() - began)})`);
  }
  const machine = {
    cpu: cpus()[0]?.model,
    cpus: cpus().length,
    memoryGB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    loadBefore: Number(load.toFixed(2)),
  };
  const results = { at: new Date().toISOString(), machine, figures };
  writeFileSync(join(OUT, 'results.json'), `${JSON.stringify(results, null, 2)}\n`);
  console.log(`\n${table(figures)}\n`);
  console.log(`${machine.cpus} × ${machine.cpu}, Linux ${machine.kernel}, Node ${machine.node}`);
  if (load > machine.cpus / 4) {
    console.log(`The machine was busy before (load ${machine.loadBefore}): measure again when it is quiet.`);
  }
  console.log('Kept in dist/bench/results.json');
  return 0;
}

process.exitCode = await main(process.argv.slice(2));
