// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import process from 'node:process';

const signals = ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP'] as const;
type Passed = (typeof signals)[number];

/**
 * Runs a program on this terminal, to its end. Of the signals that would end this process it gets those that are
 * `passed`; the others are ignored here.
 * @returns its exit status, as a shell would say it
 */
export function runProgram(
  [program = '', ...words]: readonly string[],
  { passed }: { passed: readonly Passed[] },
): Promise<number> {
  return new Promise((settle, reject) => {
    const child = spawn(program, words, { stdio: 'inherit' });
    const handle = (signal: NodeJS.Signals): void => {
      if (passed.some((each) => each === signal)) child.kill(signal);
    };
    for (const signal of signals) process.on(signal, handle);
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      for (const each of signals) process.off(each, handle);
      settle(signal === null ? (code ?? 1) : 128 + constants.signals[signal]);
    });
  });
}
