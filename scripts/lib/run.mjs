// SPDX-License-Identifier: Apache-2.0

import { spawn, spawnSync } from 'node:child_process';

/** How long a program that was asked to end may take before it is killed, in ms. */
const GRACE = 10_000;

/** Groups of processes that run() has started and that have not ended. */
const running = new Set();

/** Called when the last of them has ended, after an interrupt. */
let onceIdle = () => {};

/**
 * Runs a program in a process group of its own and waits for it. When the
 * deadline passes, or when this process is interrupted, the whole group ends:
 * what npm, cargo or vitest started must not stay behind.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {object} options
 * @param {string} [options.cwd]
 * @param {Record<string, string | undefined>} [options.env] the whole environment, by default this process's
 * @param {number} options.deadline in ms
 * @param {boolean} [options.echo] show the output as it comes, besides keeping it
 * @returns {Promise<{code: number, output: string, late: boolean}>} code is 127
 *   when the program is missing and 128 + N when a signal ended it, as in sh;
 *   output is stdout and stderr together; late tells that the deadline passed
 */
export function run(command, args, { cwd, env = process.env, deadline, echo = false }) {
  return new Promise((done) => {
    const child = spawn(command, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    const chunks = [];
    let late = false;
    let killer;
    const end = () => {
      signal(child.pid, 'SIGTERM');
      killer ??= setTimeout(() => signal(child.pid, 'SIGKILL'), GRACE);
    };
    const timer = setTimeout(() => {
      late = true;
      end();
    }, deadline);
    running.add(end);
    for (const [stream, sink] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ]) {
      stream.on('data', (chunk) => {
        chunks.push(chunk);
        if (echo) sink.write(chunk);
      });
    }
    let ended = false;
    const finish = (code) => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      clearTimeout(killer);
      running.delete(end);
      if (running.size === 0) onceIdle();
      done({ code, output: Buffer.concat(chunks).toString(), late });
    };
    child.on('error', (error) => {
      chunks.push(Buffer.from(`${error.message}\n`));
      finish(error.code === 'ENOENT' ? 127 : 126);
    });
    child.on('close', (code, name) => finish(exitCode(code, name)));
    child.on('exit', (code, name) => {
      // It may have left others of its group behind.
      signal(child.pid, 'SIGKILL');
      // A grandchild outside the group that keeps the pipes open must not hold us.
      setTimeout(() => finish(exitCode(code, name)), 1000).unref();
    });
  });
}

const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGABRT: 6, SIGKILL: 9, SIGSEGV: 11, SIGTERM: 15 };

/**
 * Runs a program on this terminal, so that it can ask questions (sudo).
 *
 * @param {string} command
 * @param {string[]} args
 * @param {Record<string, string | undefined>} [env]
 * @returns {Promise<number>} its exit code
 */
export function runHere(command, args, env = process.env) {
  return new Promise((done) => {
    const child = spawn(command, args, { env, stdio: 'inherit' });
    child.on('error', () => done(127));
    child.on('exit', (code, name) => done(exitCode(code, name)));
  });
}

/**
 * From now on an interrupt first ends everything that run() has started.
 *
 * @returns {() => void} puts the usual behaviour back
 */
export function endChildrenOnInterrupt() {
  let interrupted = false;
  const stop = (name) => {
    const code = 128 + SIGNALS[name];
    // A second interrupt is the user's wish not to wait.
    if (interrupted || running.size === 0) process.exit(code);
    interrupted = true;
    for (const end of running) end();
    setTimeout(() => process.exit(code), GRACE + 500).unref();
    process.exitCode = code;
    onceIdle = () => process.exit(code);
  };
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const name of names) process.on(name, stop);
  return () => {
    for (const name of names) process.off(name, stop);
  };
}

/** The exit code as sh gives it. */
function exitCode(code, name) {
  return code ?? 128 + (SIGNALS[name] ?? 0);
}

function signal(pid, name) {
  if (pid === undefined) return;
  try {
    process.kill(-pid, name);
  } catch (error) {
    // What sudo started belongs to root. Any other error: the group is gone already.
    if (error.code === 'EPERM') {
      spawnSync('sudo', ['-n', 'kill', `-${name.slice(3)}`, '--', `-${pid}`], {
        stdio: 'ignore',
        timeout: 5000,
      });
    }
  }
}
