// SPDX-License-Identifier: Apache-2.0

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { StepError } from '../lib/step.mjs';
import { releaseApt } from './release-apt.mjs';
import { CHECKOUT } from './steps.mjs';

/** Where it is unpacked, as the tests know it too. */
const ROOT = join(CHECKOUT, '.cache/debian-13');
const STAMP = join(ROOT, 'packages');
/** Changes with how they are unpacked. */
const FORM = 'with passt and libc6 apart';

/** What is tried, and what it and a shell script need; with everything that these depend on. */
const WANTED = [
  'libvirt-daemon',
  'libvirt-daemon-driver-network',
  'libvirt-clients',
  'firewalld',
  'dbus-daemon',
  'passt',
  'nftables',
  'iproute2',
  'coreutils',
  'dash',
  'sed',
];

/** A third of it, and nothing that runs. */
const UNUSED = ['doc', 'locale', 'man', 'info', 'zoneinfo'];

const WORDS = `${WANTED.join(' ')}\n${FORM}\n`;

const isThere = () => existsSync(STAMP) && readFileSync(STAMP, 'utf8') === WORDS;

/**
 * What is newer in Debian 13 than here: libvirt, whose networks have an nftables back end, firewalld, which owns its
 * table, and pasta; with Debian 13's own libraries, in a root directory of its own for a mount namespace of the tests
 * (test/world/debian-13.sh). pasta and that libc are there once more, to be laid over this system's /usr. Nothing is
 * installed.
 * This step never fails: without it the suite `newer` says that it did not run.
 *
 * @returns {import('./steps.mjs').Step}
 */
export function newerDebianStep() {
  return {
    title: 'newer Debian',
    plan() {
      if (isThere()) return { done: 'unpacked for the tests' };
      return {
        why: 'not there',
        what: [
          'apt-get update, with lists of its own, for trixie (Debian 13)',
          `apt-get install --download-only ${WANTED.join(' ')}  (45 MB)`,
          `dpkg-deb --extract, into ${ROOT}: nothing is installed and nothing is started`,
        ],
        act: async () => {
          try {
            return `${await unpack()} packages unpacked`;
          } catch (error) {
            if (!(error instanceof StepError)) throw error;
            return `could not be had, so the suite newer will not run. ${error.message}\n${error.command ?? ''}\n${(error.output ?? '').trim()}`;
          }
        },
      };
    },
  };
}

/** Why Debian 13's programs cannot be tried here; undefined when they can. */
export function lacksNewerDebian() {
  if (isThere()) return undefined;
  return 'no programs of Debian 13: apt could not fetch it (see the step “newer Debian” above)';
}

/** @returns how many packages */
async function unpack() {
  const fresh = `${ROOT}.new`;
  rmSync(fresh, { recursive: true, force: true });
  const here = join(fresh, 'apt');
  const { apt, must } = await releaseApt(here, 'trixie');
  await apt('apt-get', 'install', '--download-only', '--yes', ...WANTED);
  const debs = readdirSync(here).filter((file) => file.endsWith('.deb'));
  const root = join(fresh, 'root');
  mkdirSync(root);
  for (const deb of debs) await must('dpkg-deb', '--extract', deb, root);
  // netd starts pasta by itself, so it is laid over this system, with the libc that it wants.
  const over = join(fresh, 'passt');
  mkdirSync(over);
  for (const deb of debs.filter((file) => /^(passt|libc6)_/.test(file)))
    await must('dpkg-deb', '--extract', deb, over);
  for (const unused of UNUSED) rmSync(join(root, 'usr/share', unused), { recursive: true, force: true });
  rmSync(join(over, 'usr/share'), { recursive: true });
  rmSync(here, { recursive: true });
  writeFileSync(join(fresh, 'packages'), WORDS);
  rmSync(ROOT, { recursive: true, force: true });
  renameSync(fresh, ROOT);
  return debs.length;
}
