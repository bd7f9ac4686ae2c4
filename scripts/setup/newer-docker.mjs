// SPDX-License-Identifier: Apache-2.0

import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { run } from '../lib/run.mjs';
import { duration } from '../lib/step.mjs';
import { has } from './debian.mjs';
import { CHECKOUT } from './steps.mjs';

/** Where it is built, as the tests know it too. */
const ROOT = join(CHECKOUT, '.cache/docker-29');
const STAMP = join(ROOT, 'go.mod');
/** The versions of Docker and of all that it is built from; go.sum beside it has their hashes, which Go checks. */
const MODULE = join(CHECKOUT, 'test/newer/docker-29');
const MODULES = join(MODULE, 'go.mod');
const DOCKER = 'github.com/moby/moby/v2';
const PROGRAMS = ['dockerd', 'docker-proxy'];
const DEADLINE = 900_000;

const isThere = () => existsSync(STAMP) && readFileSync(STAMP, 'utf8') === readFileSync(MODULES, 'utf8');

/**
 * Docker 29, which has an nftables back end and is in no release of Debian: Go builds it from the modules that its
 * proxy has. Go keeps what it has fetched and compiled in caches of its own, so the next checkout only links.
 * This step never fails: without it the suite `newer` says what of it did not run.
 *
 * @returns {import('./steps.mjs').Step}
 */
export function newerDockerStep() {
  return {
    title: 'newer Docker',
    plan() {
      if (isThere()) return { done: 'built for the tests' };
      return {
        why: 'not there',
        what: [
          `go build ${PROGRAMS.map((program) => `${DOCKER}/cmd/${program}`).join(' ')}`,
          `into ${ROOT}: some minutes the first time; nothing is installed and nothing is started`,
        ],
        act: build,
      };
    },
  };
}

/** Why Docker's nftables back end cannot be tried here; undefined when it can. */
export function lacksNewerDocker() {
  if (isThere()) return undefined;
  return 'no Docker 29: Go could not build it (see the step “newer Docker” above)';
}

async function build() {
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/local/go/bin`, CGO_ENABLED: '0' };
  const without = 'so no lab will be tried beside it.';
  if (!has('go') && !existsSync('/usr/local/go/bin/go')) return `there is no Go to build it, ${without}`;
  const version = new RegExp(`${DOCKER} v(\\S+)`).exec(readFileSync(MODULES, 'utf8'))?.[1];
  const fresh = `${ROOT}.new`;
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { recursive: true });
  const args = [
    'build',
    '-mod=readonly',
    '-trimpath',
    '-buildvcs=false',
    '-ldflags',
    `-s -w -X ${DOCKER}/dockerversion.Version=${version}`,
    '-o',
    `${fresh}/`,
    ...PROGRAMS.map((program) => `${DOCKER}/cmd/${program}`),
  ];
  const { code, output, late } = await run('go', args, { cwd: MODULE, env, deadline: DEADLINE });
  if (code !== 0) {
    rmSync(fresh, { recursive: true, force: true });
    const why = late ? `not within ${duration(DEADLINE)}` : `go ${args.join(' ')}`;
    return `could not be built, ${without} ${why}\n${output.trim()}`;
  }
  copyFileSync(MODULES, join(fresh, 'go.mod'));
  rmSync(ROOT, { recursive: true, force: true });
  renameSync(fresh, ROOT);
  return `${version} built`;
}
