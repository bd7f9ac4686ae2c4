// SPDX-License-Identifier: Apache-2.0

import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { StepError } from '../lib/step.mjs';
import { releaseApt } from './release-apt.mjs';
import { CHECKOUT } from './steps.mjs';

/** Debian's releases whose kernels the tests boot: by the name of the directory, the release's own name. */
const RELEASES = { 'debian-12': 'bookworm', 'debian-13': 'trixie' };

/** Half of a kernel's package, and nothing of a network. */
const UNUSED = ['sound', 'drivers/gpu', 'drivers/media', 'drivers/net/wireless'];

/** Where they are unpacked, as the tests know it too. */
const ROOT = join(CHECKOUT, '.cache/stock-kernels');
const missing = () => Object.keys(RELEASES).filter((name) => !existsSync(join(ROOT, name, 'release')));

/**
 * Kernels as distributions build them, with all their modules, for the tests to boot (test/world/stock-kernel.ts).
 * They are unpacked and never installed, and apt keeps lists of its own for them.
 * This step never fails: without them the suite `kernel` says that it did not run.
 *
 * @returns {import('./steps.mjs').Step}
 */
export function stockKernelsStep() {
  return {
    title: 'stock kernels',
    plan() {
      const wanted = missing();
      if (wanted.length === 0) return { done: 'unpacked for the tests' };
      return {
        why: `no kernel of ${wanted.join(' and ')}`,
        what: [
          'apt-get update, with lists of its own',
          `apt-get download linux-image-…-amd64  (of ${wanted.map((name) => RELEASES[name]).join(' and ')}; nothing is installed)`,
        ],
        act: async () => {
          const releases = [];
          try {
            for (const one of wanted) releases.push(await unpack(join(ROOT, one), RELEASES[one]));
          } catch (error) {
            if (!(error instanceof StepError)) throw error;
            return `could not be had, so the suite kernel will not run. ${error.message}\n${error.command ?? ''}\n${(error.output ?? '').trim()}`;
          }
          return `${releases.join(' and ')} unpacked`;
        },
      };
    },
  };
}

/** Why the kernels of distributions cannot be tried here; undefined when they can. */
export function lacksStockKernels() {
  const names = missing();
  if (names.length === 0) return undefined;
  return `no kernel of ${names.join(' and ')}: apt could not fetch it (see the step “stock kernels” above)`;
}

/** Fetches the kernel of a release into a directory. @returns its release, such as 6.1.0-56-amd64. */
async function unpack(directory, suite) {
  const fresh = `${directory}.new`;
  rmSync(fresh, { recursive: true, force: true });
  const here = join(fresh, 'apt');
  const { apt, must } = await releaseApt(here, suite, 'amd64');
  const depends = await apt('apt-cache', 'depends', 'linux-image-amd64');
  const name = /^ {2}Depends: (linux-image-\S+)$/m.exec(depends)?.[1];
  if (!name) throw new StepError(`apt knows no kernel of ${suite}.`, { output: depends });
  await apt('apt-get', 'download', name);
  const deb = readdirSync(here).find((file) => file.endsWith('.deb'));
  await must('dpkg-deb', '--extract', deb, 'root');
  const root = join(here, 'root');
  // Since Debian 13 packages know that /lib is in /usr.
  const lib = existsSync(join(root, 'lib/modules')) ? 'lib' : 'usr/lib';
  const [release] = readdirSync(join(root, lib, 'modules'));
  for (const unused of UNUSED) {
    rmSync(join(root, lib, 'modules', release, 'kernel', unused), { recursive: true, force: true });
  }
  mkdirSync(join(fresh, 'lib'));
  renameSync(join(root, lib, 'modules'), join(fresh, 'lib/modules'));
  renameSync(join(root, 'boot', `vmlinuz-${release}`), join(fresh, 'vmlinuz'));
  await must('depmod', '--basedir', fresh, release);
  rmSync(here, { recursive: true });
  writeFileSync(join(fresh, 'release'), `${release}\n`);
  rmSync(directory, { recursive: true, force: true });
  renameSync(fresh, directory);
  return release;
}
