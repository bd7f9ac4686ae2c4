// SPDX-License-Identifier: Apache-2.0
import type { ErrorData } from '../../../electron/contract/error.ts';
import type { NetworkMode } from '../../../electron/contract/lab-file.ts';
import type { NatNode } from './map-model.ts';

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

/** The name of a network's way out. */
export const wayName: Readonly<Record<NetworkMode, string>> = {
  nat: 'NAT',
  routed: 'Routed',
  isolated: 'Isolated',
  bridged: 'Bridged',
};

/** What stands beside that name: the switch's state where there is one; empty where there is nothing to add. */
export function natWord({ mode, on }: Pick<NatNode, 'mode' | 'on'>): string {
  if (on === null) return 'not there';
  if (mode !== 'nat') return '';
  return on ? 'On' : 'Off';
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
