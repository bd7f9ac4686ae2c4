// SPDX-License-Identifier: Apache-2.0
import type { ErrorData } from '../../../electron/contract/error.ts';

const collator = new Intl.Collator('en', { numeric: true });

/** Compares names as people count them: tap2 before tap10. */
export const byName = (a: string, b: string): number => collator.compare(a, b);

/** Short words for the reasons that have room for few: what is the matter, without the what-to-do. */
const shortReasons: Readonly<Record<string, string>> = {
  NO_DEFAULT_ROUTE: 'no default route',
  PASTA_MISSING: 'pasta is missing',
  PASTA_FAILED: 'pasta has stopped',
  USERNS_DENIED: 'user namespaces are denied',
  NETD_FAILED: 'the network helper has stopped',
  NETD_MISSING: 'the network helper is missing',
};

/** An error as a ghost says it: the reason in a few plain words, and the fix. */
export function reasonWords(error: ErrorData): { reason: string; fix: string | null; expected: false } {
  return { reason: shortReasons[error.code] ?? error.message, fix: error.hint ?? null, expected: false };
}

/** Splits a name so that a box too small for it can cut the middle out: the tail always stays. */
export function elideParts(name: string): { head: string; tail: string } {
  if (name.length <= 8) return { head: name, tail: '' };
  const keep = Math.min(8, Math.floor(name.length / 3));
  return { head: name.slice(0, -keep), tail: name.slice(-keep) };
}

/** A name in very little room: its end, which tells it from its neighbours (`…-020`). */
export function elideStart(name: string, max: number): string {
  return name.length <= max ? name : `…${name.slice(name.length - Math.max(1, max - 1))}`;
}
