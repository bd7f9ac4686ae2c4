// SPDX-License-Identifier: Apache-2.0

import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';

import { run } from '../lib/run.mjs';
import { StepError } from '../lib/step.mjs';
import { distribution } from './packages.mjs';
import { CHECKOUT } from './steps.mjs';

const DEADLINE = 600_000;

/**
 * Packages that are unpacked and never installed: a developer does not want their services on this
 * machine. Only what runs in a mount namespace of its own sees them, laid over the system.
 *
 * @param {object} options
 * @param {string} options.title of the step
 * @param {string} options.name of the directory in .cache
 * @param {string[]} options.wanted the packages; what they need and is not installed comes with them
 * @param {string} options.without what there will be less of without them
 * @param {(root: string) => void} [options.finish] does what their postinst would
 * @returns {import('./steps.mjs').Step}
 */
export function unpackedStep({ title, name, wanted, without, finish }) {
  const directory = join(CHECKOUT, '.cache', name);
  const stamp = join(directory, 'packages');
  return {
    title,
    plan() {
      if (existsSync(stamp) && readFileSync(stamp, 'utf8').startsWith(`${wanted.join(' ')}\n`)) {
        return { done: 'unpacked' };
      }
      return {
        why: 'not there',
        what: [
          `apt-get download ${wanted.join(' ')}, and what they need that is not installed`,
          `dpkg-deb --extract, into ${directory}: nothing is installed and nothing is started`,
        ],
        act: () => unpack(directory, wanted, without, finish),
      };
    },
  };
}

async function unpack(directory, wanted, without, finish) {
  const { family, name } = distribution(readFileSync('/etc/os-release', 'utf8'));
  if (family !== 'debian' && family !== 'ubuntu') {
    throw new StepError(`Packages are unpacked on Debian only, and this is ${name}.`, { hint: without });
  }
  const fresh = `${directory}.new`;
  rmSync(fresh, { recursive: true, force: true });
  const debs = join(fresh, 'debs');
  mkdirSync(debs, { recursive: true });
  // In the last releases /lib is in /usr, and some packages do not know yet.
  for (const part of ['bin', 'sbin', 'lib']) mkdirSync(join(fresh, 'root/usr', part), { recursive: true });
  const must = commands(without);
  const apt = (args, cwd) => must('apt-get', ['-q', ...args], cwd);
  const plan = await apt(
    [
      '-o',
      'Debug::NoLocking=1',
      'install',
      '--print-uris',
      '-y',
      '--no-install-recommends',
      '--reinstall',
      ...wanted,
    ],
    fresh,
  );
  const packages = packagesOf(plan);
  await apt(['download', ...packages], debs);
  for (const deb of (await must('sh', ['-c', 'ls *.deb'], debs)).split('\n').filter(Boolean)) {
    await must('dpkg-deb', ['--extract', join(debs, deb), join(fresh, 'root')], fresh);
  }
  for (const part of ['bin', 'sbin', 'lib']) {
    const outside = join(fresh, 'root', part);
    if (!existsSync(outside) || !statSync(outside).isDirectory()) continue;
    cpSync(outside, join(fresh, 'root/usr', part), { recursive: true, verbatimSymlinks: true });
    rmSync(outside, { recursive: true });
  }
  finish?.(join(fresh, 'root'));
  rmSync(debs, { recursive: true });
  writeFileSync(join(fresh, 'packages'), `${wanted.join(' ')}\n${packages.join('\n')}\n`);
  rmSync(directory, { recursive: true, force: true });
  renameSync(fresh, directory);
  return `${packages.length} packages unpacked`;
}

/**
 * The packages that apt would fetch, from the output of `apt-get install --print-uris`:
 * 'http://…/pool/main/u/ufw/ufw_0.36.2-1_all.deb' ufw_0.36.2-1_all.deb 167940 …
 *
 * @param {string} output
 * @returns {string[]} sorted
 */
export function packagesOf(output) {
  const names = [...output.matchAll(/^'[^']+' (\S+\.deb) \d+/gm)].map(
    (match) => basename(match[1]).split('_')[0],
  );
  return [...new Set(names)].toSorted((a, b) => a.localeCompare(b));
}

function commands(without) {
  return async (program, args, cwd) => {
    const { code, output } = await run(program, args, {
      cwd,
      env: { ...process.env, LC_ALL: 'C.UTF-8' },
      deadline: DEADLINE,
    });
    if (code === 0) return output;
    throw new StepError(`${program} could not fetch or unpack packages.`, {
      command: [program, ...args].join(' '),
      output,
      hint: `apt needs its lists: apt-get update. ${without}`,
    });
  };
}
