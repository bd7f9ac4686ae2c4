// SPDX-License-Identifier: Apache-2.0

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { run } from '../lib/run.mjs';
import { StepError } from '../lib/step.mjs';
import { distribution } from './packages.mjs';
import { CHECKOUT } from './steps.mjs';

const DEADLINE = 600_000;

/** Debian's releases whose kernels the tests boot: by the name of the directory, the release's own name. */
const RELEASES = { 'debian-12': 'bookworm', 'debian-13': 'trixie' };

/** Half of a kernel's package, and nothing of a network. */
const UNUSED = ['sound', 'drivers/gpu', 'drivers/media', 'drivers/net/wireless'];

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * Kernels as distributions build them, with all their modules, for the tests to boot (test/world/stock-kernel.ts).
 * They are unpacked and never installed, and apt keeps lists of its own for them.
 *
 * @returns {import('./steps.mjs').Step}
 */
export function stockKernelsStep() {
  const directory = join(CHECKOUT, '.cache/stock-kernels');
  const missing = Object.keys(RELEASES).filter((name) => !existsSync(join(directory, name, 'release')));
  return {
    title: 'stock kernels',
    plan() {
      if (missing.length === 0) return { done: 'unpacked' };
      return {
        why: `no kernel of ${missing.join(' and ')}`,
        what: [
          'apt-get update, with lists of its own',
          `apt-get download linux-image-…-amd64  (of ${missing.map((name) => RELEASES[name]).join(' and ')}; nothing is installed)`,
        ],
        act: async () => {
          const { family, name } = distribution(readFileSync('/etc/os-release', 'utf8'));
          if (family !== 'debian') {
            throw new StepError(`Debian's kernels are fetched on Debian only, and this is ${name}.`, {
              hint: WITHOUT,
            });
          }
          const releases = [];
          for (const one of missing) releases.push(await unpack(join(directory, one), RELEASES[one]));
          return `${releases.join(' and ')} unpacked`;
        },
      };
    },
  };
}

const WITHOUT = 'Without these kernels the tests on kernels of distributions fail.';

/** Fetches the kernel of a release into a directory. @returns its release, such as 6.1.0-56-amd64. */
async function unpack(directory, suite) {
  const fresh = `${directory}.new`;
  rmSync(fresh, { recursive: true, force: true });
  const apt = join(fresh, 'apt');
  mkdirSync(join(apt, 'lists/partial'), { recursive: true });
  writeFileSync(
    join(apt, 'sources.list'),
    `deb [arch=amd64 signed-by=${KEYRING}] http://deb.debian.org/debian ${suite} main\n`,
  );
  const ofItsOwn = [
    `Dir::Etc::SourceList=${join(apt, 'sources.list')}`,
    'Dir::Etc::SourceParts=/dev/null',
    `Dir::State::Lists=${join(apt, 'lists')}`,
    `Dir::Cache=${apt}`,
    'Acquire::Languages=none',
  ].flatMap((setting) => ['-o', setting]);
  await must('apt-get', [...ofItsOwn, '-q', 'update'], apt);
  const depends = await must('apt-cache', [...ofItsOwn, 'depends', 'linux-image-amd64'], apt);
  const name = /^ {2}Depends: (linux-image-\S+)$/m.exec(depends)?.[1];
  if (!name) throw new StepError(`apt knows no kernel of ${suite}.`, { output: depends, hint: WITHOUT });
  await must('apt-get', [...ofItsOwn, '-q', 'download', name], apt);
  const deb = readdirSync(apt).find((file) => file.endsWith('.deb'));
  await must('dpkg-deb', ['--extract', deb, 'root'], apt);
  const root = join(apt, 'root');
  // Since Debian 13 packages know that /lib is in /usr.
  const lib = existsSync(join(root, 'lib/modules')) ? 'lib' : 'usr/lib';
  const [release] = readdirSync(join(root, lib, 'modules'));
  for (const unused of UNUSED) {
    rmSync(join(root, lib, 'modules', release, 'kernel', unused), { recursive: true, force: true });
  }
  mkdirSync(join(fresh, 'lib'));
  renameSync(join(root, lib, 'modules'), join(fresh, 'lib/modules'));
  renameSync(join(root, 'boot', `vmlinuz-${release}`), join(fresh, 'vmlinuz'));
  await must('depmod', ['--basedir', fresh, release], fresh);
  rmSync(apt, { recursive: true });
  writeFileSync(join(fresh, 'release'), `${release}\n`);
  rmSync(directory, { recursive: true, force: true });
  renameSync(fresh, directory);
  return release;
}

async function must(program, args, cwd) {
  const { code, output } = await run(program, args, {
    cwd,
    // What apt says is read, so it must not be translated; root's programs are not in everybody's PATH.
    env: { ...process.env, LC_ALL: 'C.UTF-8', PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
    deadline: DEADLINE,
  });
  if (code === 0) return output;
  throw new StepError(`${program} could not fetch or unpack a kernel.`, {
    command: [program, ...args].join(' '),
    output,
    hint: WITHOUT,
  });
}
