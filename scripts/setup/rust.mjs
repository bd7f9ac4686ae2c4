// SPDX-License-Identifier: Apache-2.0

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';

import { StepError } from '../lib/step.mjs';
import { BIN_DIRECTORIES } from './packages.mjs';

/** The first rustc with edition 2024, as `rust-version` in native/Cargo.toml says. */
export const RUST_WANTED = [1, 85];

const WANTED = RUST_WANTED.join('.');

/**
 * The environment in which cargo is found: rustup puts it into ~/.cargo/bin,
 * which a shell that started before rustup does not know yet.
 *
 * @returns {Record<string, string | undefined>}
 */
export function cargoEnvironment() {
  const rustup = join(process.env.CARGO_HOME ?? join(homedir(), '.cargo'), 'bin');
  return { ...process.env, PATH: [process.env.PATH ?? '', rustup].join(delimiter) };
}

/**
 * Debian's packages for the Rust toolchain, when there is none. Debian 12 has
 * rustc 1.63, too old, but a newer one (made to build browsers) as rustc-web.
 *
 * @returns {import('./packages.mjs').Need[]}
 */
export function rustNeeds() {
  const paths = (cargoEnvironment().PATH ?? '').split(delimiter);
  if ([...paths, ...BIN_DIRECTORIES].some((path) => existsSync(join(path, 'cargo')))) return [];
  const name = ['rustc', 'rustc-web'].find((one) => isNewEnough(candidate(one)));
  if (!name) return [];
  const why = `builds the network helper, which is written in Rust (${WANTED} or newer)`;
  return [
    { debian: name, why },
    { debian: name.replace('rustc', 'cargo'), why: `${why}, and fetches its libraries` },
  ];
}

/**
 * Whether a version such as `1.85.0+dfsg3-1` or `rustc 1.95.0 (…)` will do.
 *
 * @param {string} version
 */
export function isNewEnough(version) {
  const [major, minor] = (/(\d+)\.(\d+)/.exec(version) ?? []).slice(1).map(Number);
  return major > RUST_WANTED[0] || (major === RUST_WANTED[0] && minor >= RUST_WANTED[1]);
}

/** Throws a StepError with what to do where rustc is missing or too old. */
export function requireRust() {
  const version = output('rustc', ['--version'], cargoEnvironment());
  if (isNewEnough(version)) return;
  const found = version ? `This one says: ${version.trim()}.` : 'None was found.';
  throw new StepError(`The network helper needs Rust ${WANTED} or newer. ${found}`, {
    hint: 'Install it with rustup, in your home and without root: https://rustup.rs. On Debian 12 also: apt-get install cargo-web rustc-web (in place of rustc and cargo).',
  });
}

function candidate(name) {
  return (
    /Candidate: (.*)/.exec(
      output('apt-cache', ['policy', name], { ...process.env, LC_ALL: 'C.UTF-8' }),
    )?.[1] ?? ''
  );
}

function output(program, args, env) {
  try {
    return execFileSync(program, args, {
      encoding: 'utf8',
      env,
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 20_000,
    });
  } catch {
    return '';
  }
}
