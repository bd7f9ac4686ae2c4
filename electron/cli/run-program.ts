// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import process from 'node:process';
import { errnoOf } from '../core/host/atomic-write.ts';

const signals = ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP'] as const;
type Passed = (typeof signals)[number];

/** A program's exit status as a shell says it where it ended by a signal. */
const by = (signal: NodeJS.Signals): number => 128 + constants.signals[signal];

/**
 * Runs a program on this terminal, to its end. Of the signals that would end this process it gets those that are
 * `passed`; the others are ignored here. One that may not be signalled, as root's, is left then, as if it had ended
 * by the signal.
 * @returns its exit status, as a shell would say it
 */
export function runProgram(
  [program = '', ...words]: readonly string[],
  { passed }: { passed: readonly Passed[] },
): Promise<number> {
  return new Promise((settle, reject) => {
    const child = spawn(program, words, { stdio: 'inherit' });
    let last: NodeJS.Signals | undefined;
    const handle = (signal: NodeJS.Signals): void => {
      if (!passed.some((each) => each === signal)) return;
      last = signal;
      child.kill(signal);
    };
    const over = (): void => {
      for (const each of signals) process.off(each, handle);
    };
    for (const signal of signals) process.on(signal, handle);
    child.once('error', (thrown) => {
      over();
      if (last !== undefined && errnoOf(thrown) === 'EPERM') {
        child.unref();
        settle(by(last));
      } else reject(thrown);
    });
    child.once('exit', (code, signal) => {
      over();
      settle(signal === null ? (code ?? 1) : by(signal));
    });
  });
}
