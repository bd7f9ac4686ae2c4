// SPDX-License-Identifier: Apache-2.0

/** How pkexec ended before it ran anything: closed, not allowed, nobody to ask, no polkit behind it. */
export type PkexecRefusal = 'dismissed' | 'denied' | 'nobody' | 'no-polkit';

/**
 * What pkexec's exit status and its words say (pkexec(1)): 126, the question was closed; 127, not allowed, or
 * nobody was there to be asked. undefined where the status is that of the program which it ran.
 */
export function pkexecRefused(status: number | null, words: string): PkexecRefusal | undefined {
  if (status === 126) return 'dismissed';
  if (status !== 127) return undefined;
  if (/getting authority|initializing authority/i.test(words)) return 'no-polkit';
  return /agent/i.test(words) ? 'nobody' : 'denied';
}
