// SPDX-License-Identifier: Apache-2.0
import type { CheckResult } from '../../contract/rows.ts';

/** What a check found. */
export type Finding = Pick<CheckResult, 'state' | 'found' | 'fixes'>;

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

/** Words of whatever was thrown. */
export const words = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));
