// SPDX-License-Identifier: Apache-2.0

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { run } from '../lib/run.mjs';
import { StepError } from '../lib/step.mjs';

const DEADLINE = 600_000;
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * apt for a release of Debian that need not be this machine's: its sources, lists and downloads are in a directory
 * of its own, and it knows of no installed package, so that everything comes along that a package depends on.
 *
 * @typedef {object} ReleaseApt
 * @property {(program: string, ...args: string[]) => Promise<string>} apt runs apt-get, apt-cache …; its output
 * @property {(program: string, ...args: string[]) => Promise<string>} must runs another program in the directory
 *
 * @param {string} directory
 * @param {string} suite the release's own name, such as trixie
 * @param {string} [architecture] this machine's by default
 * @returns {Promise<ReleaseApt>} with its lists fetched
 */
export async function releaseApt(directory, suite, architecture) {
  mkdirSync(join(directory, 'lists/partial'), { recursive: true });
  mkdirSync(join(directory, 'partial'));
  const only = architecture ? `arch=${architecture} ` : '';
  writeFileSync(
    join(directory, 'sources.list'),
    `deb [${only}signed-by=${KEYRING}] http://deb.debian.org/debian ${suite} main\n`,
  );
  writeFileSync(join(directory, 'status'), '');
  const ofItsOwn = [
    `Dir::Etc::SourceList=${join(directory, 'sources.list')}`,
    'Dir::Etc::SourceParts=/dev/null',
    'Dir::Etc::Preferences=/dev/null',
    'Dir::Etc::PreferencesParts=/dev/null',
    `Dir::State=${directory}`,
    `Dir::State::Status=${join(directory, 'status')}`,
    `Dir::State::Lists=${join(directory, 'lists')}`,
    `Dir::Cache=${directory}`,
    `Dir::Cache::Archives=${directory}`,
    'Acquire::Languages=none',
    'APT::Install-Recommends=false',
    'Debug::NoLocking=1',
  ].flatMap((setting) => ['-o', setting]);
  const must = async (program, ...args) => {
    const { code, output } = await run(program, args, {
      cwd: directory,
      // What apt says is read, so it must not be translated; root's programs are not in everybody's PATH.
      env: { ...process.env, LC_ALL: 'C.UTF-8', PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
      deadline: DEADLINE,
    });
    if (code === 0) return output;
    throw new StepError(`${program} could not fetch or unpack what ${suite} has.`, {
      command: [program, ...args].join(' '),
      output,
    });
  };
  const apt = (program, ...args) => must(program, ...ofItsOwn, '-q', ...args);
  await apt('apt-get', 'update');
  return { apt, must };
}
