// SPDX-License-Identifier: Apache-2.0

import { spawn } from 'node:child_process';

/** How long a program that was asked to end may take before it is killed, in ms. */
const GRACE = 10_000;

/** Groups of processes that run() has started and that have not ended. */
const running = new Set();

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
      // A program that ended may have left others of its group behind.
      signal(child.pid, 'SIGKILL');
      done({ code, output: Buffer.concat(chunks).toString(), late });
    };
    child.on('error', (error) => {
      chunks.push(Buffer.from(`${error.message}\n`));
      finish(error.code === 'ENOENT' ? 127 : 126);
    });
    child.on('close', (code, name) => finish(exitCode(code, name)));
    // A grandchild outside the group that keeps the pipes open must not hold us.
    child.on('exit', (code, name) => setTimeout(() => finish(exitCode(code, name)), 1000).unref());
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

/** Ends everything that run() started when this process is interrupted; call it once. */
export function endChildrenOnInterrupt() {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.once(name, () => {
      for (const end of running) end();
      // A second interrupt is the user's wish not to wait.
      process.once(name, () => process.exit(128 + SIGNALS[name]));
      setTimeout(() => process.exit(128 + SIGNALS[name]), running.size > 0 ? GRACE + 500 : 0);
    });
  }
}

/** The exit code as sh gives it. */
function exitCode(code, name) {
  return code ?? 128 + (SIGNALS[name] ?? 0);
}

function signal(pid, name) {
  if (pid === undefined) return;
  try {
    process.kill(-pid, name);
  } catch {
    // The group is gone already.
  }
}
