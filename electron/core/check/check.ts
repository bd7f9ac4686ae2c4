// SPDX-License-Identifier: Apache-2.0
import type { CheckResult, MendableCheck } from '../../contract/rows.ts';

/** A program by its absolute path, and its arguments: run without a shell. */
export type Command = readonly [program: string, ...args: readonly string[]];

/** What a check found. */
export type Finding = Pick<CheckResult, 'state' | 'found' | 'fixes'> & {
  /** What mends it, run as root one after the other; the fix that says so has the same commands. */
  readonly mend?: readonly Command[];
};

/** One look at this host: cheap, read-only, and it never throws nor waits without a deadline. */
export interface Check {
  readonly id: string;
  readonly title: string;
  readonly look: () => Finding | Promise<Finding>;
}

/** All is well. */
export const ok = (found: string): Finding => ({ state: 'ok', found, fixes: [] });

/** Something is missing that most can do without, or does worse without. */
export const warning = (found: string, ...fixes: CheckResult['fixes']): Finding => ({
  state: 'warning',
  found,
  fixes,
});

/** Without it a lab does not come up. */
export const failed = (found: string, ...fixes: CheckResult['fixes']): Finding => ({
  state: 'failed',
  found,
  fixes,
});

/** As {@link warning}, with commands that Tapyard itself can run as root (mend.ts). Their words need no quoting. */
export const mendable = (
  check: MendableCheck,
  found: string,
  text: string,
  mend: readonly Command[],
): Finding => ({
  state: 'warning',
  found,
  fixes: [{ text, command: mend.map((command) => `sudo ${command.join(' ')}`).join('\n'), mend: check }],
  mend,
});

/** Words of whatever was thrown. */
export const words = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));
