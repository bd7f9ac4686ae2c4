// SPDX-License-Identifier: Apache-2.0
import { formatMs } from '../../lib/format.ts';
import type { Row } from '../../store/tables.ts';

type Step = Row<'steps'>;

/** How a step of the recipe is shown: a mark, its word, and whether it counts as good, open or bad. */
export interface StepMark {
  readonly mark: '✓' | '○' | '✗' | '…';
  readonly word: string;
  readonly tone: 'good' | 'open' | 'busy' | 'bad';
}

/** The mark of a step: what the kernel holds now goes before what was once done. */
export function stepMark(step: Pick<Step, 'state' | 'holds' | 'by'>): StepMark {
  if (step.state === 'failed') return { mark: '✗', word: 'failed', tone: 'bad' };
  if (step.state === 'doing') return { mark: '…', word: 'being done', tone: 'busy' };
  if (step.holds === true) return { mark: '✓', word: 'holds now', tone: 'good' };
  if (step.by !== null) return { mark: '○', word: step.by, tone: 'open' };
  if (step.state === 'pending') return { mark: '○', word: 'not done yet', tone: 'open' };
  if (step.holds === false) return { mark: '✗', word: 'was done, but does not hold now', tone: 'bad' };
  return { mark: '✓', word: 'done', tone: 'good' };
}

/** What stands at the end of a step's line: who does it, or how long it took. */
export function stepTime(step: Pick<Step, 'by' | 'ms'>): string {
  return step.by ?? (step.ms === null ? '' : formatMs(step.ms));
}

/**
 * A step on one line: its command; the first of several; or what it does, where a first line alone (a
 * continued one, a here-document, an assignment) says nothing.
 */
export function stepLine(step: Pick<Step, 'command' | 'title'>): string {
  const [first = '', ...rest] = step.command.trim().split('\n');
  if (rest.length === 0) return first;
  return /\\$|<<|^[A-Za-z_]+=/.test(first) ? step.title : `${first} …`;
}

/** The steps that make a guest what it is: its own, its networks', and those of the whole lab. */
export function stepsOfGuest(steps: readonly Step[], guest: Row<'guests'>): readonly Step[] {
  const networks = new Set(guest.nics.map((nic) => `${guest.lab}/${nic.network}`));
  return steps.filter(
    (step) =>
      step.guest === guest.id ||
      (step.guest === null && (step.network === null || networks.has(step.network))),
  );
}

/** The steps that make a network what it is. */
export function stepsOfNetwork(steps: readonly Step[], network: string): readonly Step[] {
  return steps.filter((step) => step.network === network && step.guest === null);
}
