// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { TapyardError } from '../../contract/error.ts';
import { errnoOf } from './atomic-write.ts';

/** A process beyond its number, which the kernel gives again: with the time of its start it is unique until the next boot. */
export interface ProcessId {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks since boot (proc(5)). */
  readonly startTime: number;
}

/** What /proc says of a process. */
export interface ProcessFacts extends ProcessId {
  /** One letter of proc(5); `Z` is a process that is over and not yet waited for. */
  readonly state: string;
  /** User and system time so far, clock ticks. */
  readonly cpuTicks: number;
}

/** The fields that we use of a /proc/PID/stat line; undefined where it is none. */
export function parseStat(line: string): ProcessFacts | undefined {
  // The name in parentheses may contain spaces and parentheses: the fields begin after the last one.
  const close = line.lastIndexOf(')');
  const fields = line.slice(close + 2).split(' ');
  const pid = /^[1-9]\d{0,9}(?= \()/.exec(line)?.[0];
  const state = fields[0] ?? '';
  if (close === -1 || pid === undefined || !/^[A-Za-z]$/.test(state)) return undefined;
  const ticks = [fields[11], fields[12], fields[19]];
  const [utime, stime, startTime] = ticks.map((text) => (/^\d+$/.test(text ?? '') ? Number(text) : NaN));
  if (utime === undefined || stime === undefined || startTime === undefined) return undefined;
  if (![utime + stime, startTime].every(Number.isSafeInteger)) return undefined;
  return { pid: Number(pid), startTime, state, cpuTicks: utime + stime };
}

/** What /proc says of `pid` now; undefined when there is no such process or it is over. */
export function lookUp(pid: number): ProcessFacts | undefined {
  try {
    const facts = parseStat(readFileSync(`/proc/${pid}/stat`, 'utf8'));
    return facts === undefined || facts.state === 'Z' || facts.state === 'X' ? undefined : facts;
  } catch {
    return undefined;
  }
}

/** Whether exactly this process (not another with its number) still runs. */
export function isAlive({ pid, startTime }: ProcessId): boolean {
  return lookUp(pid)?.startTime === startTime;
}

/** The real user id in the text of /proc/PID/status. */
export function parseUid(status: string): number | undefined {
  const match = /^Uid:\t(\d{1,10})\t/m.exec(status);
  return match?.[1] === undefined ? undefined : Number(match[1]);
}

/** The real user id of a process, undefined when it is gone. */
export function uidOf(pid: number): number | undefined {
  try {
    return parseUid(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return undefined;
  }
}

/** Sends a signal to exactly this process; false when it is gone. EPERM is thrown as it is. */
export function signal(target: ProcessId, name: NodeJS.Signals): boolean {
  if (!isAlive(target)) return false;
  try {
    return process.kill(target.pid, name);
  } catch (thrown) {
    if (errnoOf(thrown) === 'ESRCH') return false;
    throw thrown;
  }
}

/** Waits until the process is over; false when it is not within `deadlineMs`. For a process that is not our child the kernel has no event without a pidfd, which Node does not offer, so this looks every 10 ms. */
export async function waitForEnd(target: ProcessId, deadlineMs: number): Promise<boolean> {
  const until = performance.now() + deadlineMs;
  while (isAlive(target)) {
    if (performance.now() >= until) return false;
    await delay(10);
  }
  return true;
}

/**
 * Ends a process: SIGTERM, and SIGKILL where it does not go within `graceMs`. False when it is still there
 * 2 s after that (it hangs in the kernel).
 */
export async function endProcess(target: ProcessId, graceMs: number): Promise<boolean> {
  if (!signal(target, 'SIGTERM')) return true;
  if (await waitForEnd(target, graceMs)) return true;
  if (!signal(target, 'SIGKILL')) return true;
  return await waitForEnd(target, 2000);
}

/** How a program ended. `stdout` and `stderr` are cut at 1 MiB each. */
export interface ProgramResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

const longestOutput = 1024 * 1024;

/** The environment of every program that we start: enough to find others, and messages in English. */
export const programEnvironment: Readonly<Record<string, string>> = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C',
};

/**
 * Runs a program to its end, without a shell and without input. Killed (SIGKILL) at the deadline, which throws
 * DEADLINE, and at an abort, which throws ABORTED. A program that cannot be started throws as `spawn` does. With
 * `ownSession` it has no terminal that it could ask on.
 */
export async function runProgram(
  program: string,
  args: readonly string[],
  { deadlineMs, abort, ownSession }: { deadlineMs: number; abort?: AbortSignal; ownSession?: boolean },
): Promise<ProgramResult> {
  return await new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: programEnvironment,
      timeout: deadlineMs,
      killSignal: 'SIGKILL',
      detached: ownSession === true,
      ...(abort === undefined ? {} : { signal: abort }),
    });
    const startedAt = performance.now();
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        output[name] = (output[name] + text).slice(0, longestOutput);
      });
    }
    child.on('error', (thrown) => {
      const aborted = abort?.aborted === true;
      reject(aborted ? new TapyardError('ABORTED', `${program} was stopped.`) : thrown);
    });
    child.on('close', (code, endSignal) => {
      if (endSignal === 'SIGKILL' && performance.now() - startedAt > deadlineMs - 20) {
        reject(
          new TapyardError('DEADLINE', `${program} did not end within ${deadlineMs} ms.`, {
            subject: program,
          }),
        );
      } else resolve({ code, signal: endSignal, ...output });
    });
  });
}
