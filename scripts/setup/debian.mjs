// SPDX-License-Identifier: Apache-2.0

import { execFileSync } from 'node:child_process';
import { accessSync, constants, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { run, runHere } from '../lib/run.mjs';
import { StepError } from '../lib/step.mjs';
import { BIN_DIRECTORIES, distribution, installCommand, missingPackages, needsFor } from './packages.mjs';
import { rustNeeds } from './rust.mjs';

/** How long one run of apt may take, in ms. */
const APT_DEADLINE = 1_200_000;

/**
 * The step that sees to the distribution's packages. Only Debian's are
 * installed by it; elsewhere it names them.
 *
 * @param {string} purpose start, test or bench
 * @param {() => boolean} buildsRust whether a Rust toolchain will be needed:
 *   whoever runs what somebody else built needs none
 * @returns {import('./steps.mjs').Step}
 */
export function packagesStep(purpose, buildsRust) {
  const needs = needsFor(purpose);
  return {
    title: 'packages',
    plan() {
      const { family, name } = distribution(read('/etc/os-release'));
      if (family !== 'debian') return elsewhere(family, name, needs);
      const missing = [...missingPackages(needs, query(needs)), ...(buildsRust() ? rustNeeds() : [])];
      if (missing.length === 0) return { done: `${needs.length} of ${needs.length} there` };
      const install = installCommand('debian', missing);
      return {
        why: `${missing.length} missing`,
        what: [...missing.map((need) => `${need.debian}: ${need.why}`), shown(install)],
        act: () => aptInstall(install, missing),
      };
    },
  };
}

async function aptInstall(install, missing) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  if (process.getuid() !== 0 && !has('sudo')) {
    throw new StepError('Installing packages needs root, and sudo is not installed.', {
      hint: `As root: ${install.join(' ')}`,
    });
  }
  if (process.getuid() !== 0 && (await runHere('sudo', [...sudoOptions(), '-v'])) !== 0) {
    throw new StepError('Installing packages needs root, and sudo refused.', {
      hint: `As root: ${install.join(' ')}`,
    });
  }
  // Lists may be old or missing. With other sources out of reach what is there may still do.
  await aptRun(['apt-get', 'update', '-q'], env);
  // Another apt may be at work, such as the nightly upgrades.
  const { code, output } = await aptRun([...install, '-o', 'DPkg::Lock::Timeout=300'], env);
  if (code !== 0) {
    throw new StepError('apt-get could not install the packages.', {
      command: shown(install),
      output,
      hint: 'Read what apt says above; when it cannot reach its sources, check the network and run the same command again.',
    });
  }
  const still = missingPackages(missing, query(missing));
  if (still.length > 0) {
    throw new StepError(
      `apt-get ended well, yet these are missing: ${still.map((need) => need.debian).join(', ')}.`,
    );
  }
  return `${missing.length} installed`;
}

/** As root quietly, through sudo on the terminal, where it may ask for a password. */
async function aptRun([program, ...args], env) {
  if (process.getuid() === 0) return run(program, args, { env, deadline: APT_DEADLINE });
  const command = [...sudoOptions(), 'env', `DEBIAN_FRONTEND=${env.DEBIAN_FRONTEND}`, program, ...args];
  return { code: await runHere('sudo', command), output: '' };
}

/** Without a terminal sudo must not wait for a password that nobody can type. */
function sudoOptions() {
  return process.stdin.isTTY ? [] : ['-n'];
}

/** The command as a user would type it. */
function shown(command) {
  return [...(process.getuid() === 0 ? [] : ['sudo']), ...command].join(' ');
}

/** What dpkg knows, in one call; its exit code only says that some are unknown to it. */
function query(needs) {
  try {
    return execFileSync(
      'dpkg-query',
      ['-W', '-f', '${Package} ${db:Status-Status}\\n', ...needs.map((need) => need.debian)],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], timeout: 10_000 },
    );
  } catch (error) {
    if (typeof error.stdout === 'string') return error.stdout;
    throw new StepError('dpkg-query did not run, so the installed packages are unknown.', {
      output: error.message,
    });
  }
}

/** Not Debian: go on when the programs are there, whatever their packages are called. */
function elsewhere(family, name, needs) {
  const missing = needs.filter((need) => need.program && !has(need.program));
  if (missing.length === 0) return { done: `all programs found on ${name}` };
  const families = family ? [family] : ['debian', 'ubuntu', 'fedora', 'arch', 'opensuse'];
  const commands = families.map(
    (one) => `${family ? '' : `${one}: `}${installCommand(one, missing).join(' ')}`,
  );
  return {
    why: `${missing.map((need) => need.program).join(', ')} not found`,
    what: [...missing.map((need) => `${need.program}: ${need.why}`), ...commands],
    act: () => {
      throw new StepError(
        `Set-up installs packages on Debian only, and this is ${name}. Missing: ${missing.map((need) => need.program).join(', ')}.`,
        { hint: `Install them, then run the same command again:\n${commands.join('\n')}` },
      );
    },
  };
}

/**
 * Whether a program can be found, also where an ordinary user's PATH does not look.
 *
 * @param {string} program
 */
export function has(program) {
  const directories = [...(process.env.PATH ?? '').split(':'), ...BIN_DIRECTORIES];
  return directories.some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
