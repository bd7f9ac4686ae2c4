// SPDX-License-Identifier: Apache-2.0

import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';

import { run } from '../lib/run.mjs';
import { StepError } from '../lib/step.mjs';
import { distribution } from './packages.mjs';
import { CHECKOUT } from './steps.mjs';

/**
 * The firewalls that netd lives with. They are never installed: a developer
 * who runs the tests does not want ufw on this machine, nor Docker started.
 * Their packages are unpacked into a directory that only the tests look into.
 */
const FIREWALLS = ['ufw', 'firewalld', 'docker.io', 'iptables', 'dbus-daemon', 'polkitd', 'systemd-resolved'];

/** Where the packages are unpacked, as the tests know it too. */
const ROOT = join(CHECKOUT, '.cache/firewalls');
const STAMP = join(ROOT, 'packages');
const DEADLINE = 600_000;

/**
 * The other firewalls, for the tests.
 *
 * @returns {import('./steps.mjs').Step}
 */
export function firewallsStep() {
  return {
    title: 'other firewalls',
    plan() {
      const wanted = FIREWALLS.join(' ');
      if (existsSync(STAMP) && readFileSync(STAMP, 'utf8').startsWith(`${wanted}\n`)) {
        return { done: 'unpacked for the tests' };
      }
      return {
        why: 'not there',
        what: [
          `apt-get download ${wanted}, and what they need that is not installed`,
          `dpkg-deb --extract, into ${ROOT}: nothing is installed and nothing is started`,
        ],
        act: () => unpack(wanted),
      };
    },
  };
}

async function unpack(wanted) {
  const { family, name } = distribution(readFileSync('/etc/os-release', 'utf8'));
  if (family !== 'debian' && family !== 'ubuntu') {
    throw new StepError(`The packages of other firewalls are unpacked on Debian only, and this is ${name}.`, {
      hint: 'Tests of netd beside Docker, ufw and firewalld will fail here.',
    });
  }
  const fresh = `${ROOT}.new`;
  rmSync(fresh, { recursive: true, force: true });
  const debs = join(fresh, 'debs');
  mkdirSync(debs, { recursive: true });
  // In the last releases /lib is in /usr, and some packages do not know yet.
  for (const directory of ['bin', 'sbin', 'lib'])
    mkdirSync(join(fresh, 'root/usr', directory), { recursive: true });
  const plan = await apt(
    [
      '-o',
      'Debug::NoLocking=1',
      'install',
      '--print-uris',
      '-y',
      '--no-install-recommends',
      '--reinstall',
      ...FIREWALLS,
    ],
    fresh,
  );
  const packages = packagesOf(plan);
  await apt(['download', ...packages], debs);
  for (const deb of (await must('sh', ['-c', 'ls *.deb'], debs)).split('\n').filter(Boolean)) {
    await must('dpkg-deb', ['--extract', join(debs, deb), join(fresh, 'root')], fresh);
  }
  for (const directory of ['bin', 'sbin', 'lib']) {
    const outside = join(fresh, 'root', directory);
    if (!existsSync(outside) || !statSync(outside).isDirectory()) continue;
    cpSync(outside, join(fresh, 'root/usr', directory), { recursive: true, verbatimSymlinks: true });
    rmSync(outside, { recursive: true });
  }
  // What firewalld's postinst does by way of the alternatives system.
  const actions = join(fresh, 'root/usr/share/polkit-1/actions');
  symlinkSync(
    'org.fedoraproject.FirewallD1.server.policy.choice',
    join(actions, 'org.fedoraproject.FirewallD1.policy'),
  );
  rmSync(debs, { recursive: true });
  writeFileSync(join(fresh, 'packages'), `${wanted}\n${packages.join('\n')}\n`);
  rmSync(ROOT, { recursive: true, force: true });
  renameSync(fresh, ROOT);
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

function apt(args, cwd) {
  return must('apt-get', ['-q', ...args], cwd);
}

async function must(program, args, cwd) {
  const { code, output } = await run(program, args, {
    cwd,
    env: { ...process.env, LC_ALL: 'C.UTF-8' },
    deadline: DEADLINE,
  });
  if (code === 0) return output;
  throw new StepError(`${program} could not fetch or unpack the packages of other firewalls.`, {
    command: [program, ...args].join(' '),
    output,
    hint: 'apt needs its lists: apt-get update. Without these packages the tests of netd beside other firewalls fail.',
  });
}
