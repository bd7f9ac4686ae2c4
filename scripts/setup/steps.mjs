// SPDX-License-Identifier: Apache-2.0

import { accessSync, constants, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { digest } from '../lib/inputs.mjs';
import { run } from '../lib/run.mjs';
import { hintFor, StepError } from '../lib/step.mjs';
import { cargoEnvironment, requireRust } from './rust.mjs';

/**
 * One part of set-up. `plan` only looks, fast; what it returns either says
 * what is there already, or what has to be done, why, and how.
 *
 * @typedef {object} Step
 * @property {string} title
 * @property {() => Plan | Promise<Plan>} plan
 *
 * @typedef {{done: string} | {why: string, what: string[], act: () => Promise<string>}} Plan
 *   what: lines for people; act resolves to a short result
 */

/** The checkout that this file belongs to. */
export const CHECKOUT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

const MINUTE = 60_000;

/**
 * npm's packages. npm keeps a list of what it installed in
 * node_modules/.package-lock.json; `npm ci` runs when that and the lock file differ.
 *
 * @returns {Step}
 */
export function npmStep() {
  return {
    title: 'npm packages',
    plan() {
      const difference = npmDifference(
        readJson(join(CHECKOUT, 'package-lock.json')),
        readJson(join(CHECKOUT, 'node_modules/.package-lock.json')),
      );
      if (!difference) return { done: 'as in the lock file' };
      return {
        why: difference,
        what: ['npm ci'],
        act: async () => {
          await must('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
            env: npmEnvironment(),
            deadline: 15 * MINUTE,
          });
          return existsSync(join(CHECKOUT, 'node_modules/node-pty'))
            ? 'installed'
            : 'installed; node-pty could not be built, so ssh and host shells in the window are off';
        },
      };
    },
  };
}

/**
 * In what two lock files differ, in words, or undefined. Optional packages are
 * for other machines, or could not be built: they may be missing.
 *
 * @param {{packages?: Record<string, {version?: string, optional?: boolean}>} | undefined} wanted
 * @param {{packages?: Record<string, {version?: string}>} | undefined} installed
 */
export function npmDifference(wanted, installed) {
  if (!wanted?.packages) return 'package-lock.json is missing or unreadable';
  if (!installed?.packages) return 'node_modules is missing';
  for (const [path, { version, optional }] of Object.entries(wanted.packages)) {
    if (path === '') continue;
    const found = installed.packages[path];
    if (!found && !optional) return `${path} is missing`;
    if (found && found.version !== version) return `${path} is ${found.version}, wanted ${version}`;
  }
  const extra = Object.keys(installed.packages).find((path) => !(path in (wanted.packages ?? {})));
  return extra && `${extra} is no longer wanted`;
}

/**
 * node-gyp downloads Node's headers unless it is told where they are;
 * distributions that package Node put them into /usr/include/node.
 */
function npmEnvironment() {
  const env = { ...process.env };
  const header = '/usr/include/node/node_version.h';
  if (!env.npm_config_nodedir && existsSync(header)) {
    const text = readFileSync(header, 'utf8');
    const version = ['MAJOR', 'MINOR', 'PATCH'].map(
      (part) => new RegExp(`NODE_${part}_VERSION (\\d+)`).exec(text)?.[1],
    );
    if (version.join('.') === process.versions.node) env.npm_config_nodedir = '/usr';
  }
  return env;
}

/** The network helper and its companion. @returns {Step} */
export function rustStep() {
  return stamped({
    title: 'network helper',
    inputs: ['native'],
    outputs: ['tapyard', 'tapyard-netd', 'tapyard-tap'].map((name) => `native/target/release/${name}`),
    command: 'cargo build --release --locked  (in native/)',
    act: async () => {
      requireRust();
      await must('cargo', ['build', '--release', '--locked', '--quiet'], {
        cwd: join(CHECKOUT, 'native'),
        env: cargoEnvironment(),
        deadline: 25 * MINUTE,
      });
    },
  });
}

/** The program of the core, the command line and the shell. @returns {Step} */
export function coreStep() {
  return stamped({
    title: 'core and command',
    inputs: [
      'electron',
      'scripts/build.mjs',
      'scripts/lib/build-id.mjs',
      'scripts/lib/contract-hash.mjs',
      'tsconfig.base.json',
      'package.json',
      'package-lock.json',
    ],
    outputs: ['dist/cli/tapyard.mjs', 'dist/cli/build-id'],
    command: 'npm run -s build:core',
    act: () => must('npm', ['run', '-s', 'build:core'], { deadline: 5 * MINUTE }),
  });
}

/** The page. @returns {Step} */
export function rendererStep() {
  return stamped({
    title: 'window',
    inputs: ['renderer', 'electron/contract', 'assets/icons', 'tsconfig.base.json', 'package-lock.json'],
    outputs: ['dist/renderer/index.html'],
    command: 'npm run -s build:renderer',
    act: () => must('npm', ['run', '-s', 'build:renderer'], { deadline: 5 * MINUTE }),
  });
}

/** The micro guest; its recipe knows by itself whether it is up to date. @returns {Step} */
export function microStep() {
  const build = ['assets/micro/build.mjs'];
  return {
    title: 'micro guest',
    async plan() {
      const { code, output } = await run(process.execPath, [join(CHECKOUT, build[0]), '--check'], {
        deadline: MINUTE,
      });
      if (code === 0) return { done: 'up to date' };
      return {
        why: output.trim(),
        what: [
          'node assets/micro/build.mjs  (downloads the kernel of linux-image-cloud-amd64, without installing it)',
        ],
        act: async () => (await must(process.execPath, build, { deadline: 10 * MINUTE })).trim(),
      };
    },
  };
}

/**
 * A step that depends on sources only: it is repeated when their content
 * changed since it last went well, or when what it made is not there.
 *
 * @returns {Step}
 */
function stamped({ title, inputs, outputs, command, act }) {
  const stamp = join(CHECKOUT, '.cache/setup', title.replaceAll(' ', '-'));
  return {
    title,
    plan() {
      const missing = outputs.find((path) => !existsSync(join(CHECKOUT, path)));
      const wanted = digest(CHECKOUT, inputs);
      if (!missing && readText(stamp) === wanted) return { done: 'up to date' };
      return {
        why: missing ? `${missing} is missing` : 'sources changed',
        what: [command],
        act: async () => {
          requireWritable();
          await act();
          const still = outputs.find((path) => !existsSync(join(CHECKOUT, path)));
          if (still) throw new StepError(`The build ended well, yet ${still} is not there.`, { command });
          mkdirSync(dirname(stamp), { recursive: true });
          // What was hashed before the build: a source saved meanwhile is built next time.
          writeFileSync(stamp, wanted);
          return 'built';
        },
      };
    },
  };
}

function requireWritable() {
  try {
    accessSync(CHECKOUT, constants.W_OK);
  } catch {
    throw new StepError(`You may not write to ${CHECKOUT}.`, { hint: hintFor('EACCES') });
  }
}

/** Runs a program in the checkout; throws with its last words when it fails. */
async function must(command, args, { cwd = CHECKOUT, env, deadline }) {
  const { code, output, late } = await run(command, args, { cwd, env, deadline });
  if (code === 0) return output;
  const line = [command === process.execPath ? 'node' : command, ...args].join(' ');
  throw new StepError(
    late
      ? `${line} took longer than ${deadline / MINUTE} minutes and was stopped.`
      : `${line} failed (exit ${code}).`,
    { command: line, output, hint: hintFor(output) },
  );
}

function readText(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}
