// SPDX-License-Identifier: Apache-2.0
import type { ErrorData } from '../../contract/error.ts';
import type { GuestStatus } from '../guest/spec.ts';
import type { StepRecord } from './rows.ts';
import type { StepTimes } from './step-times.ts';

/** How it goes with a step: under way, over (with its time where something was done), failed, or given up. */
export type StepOutcome = { readonly ms?: number; readonly error?: ErrorData } | 'doing' | 'pending';

/** The steps that a guest's own start did, with their times. `id` without the lab. */
function* guestSteps(name: string, { taps, startMs }: GuestStatus): Generator<readonly [string, number]> {
  for (const tap of taps) for (const step of tap.steps) yield [`${name}/${tap.nic}/${step.id}`, step.ms];
  if (startMs !== null) yield [`${name}/qemu`, startMs];
}

/** What is remembered of the recipe's steps that were done, by this core or the one before. Ids as in the recipe. */
export class StepRecords {
  readonly #lab: string;
  readonly #records = new Map<string, StepRecord>();
  /** Of guests that a core before started, by name; the guests themselves know their starts by this core. */
  #before: StepTimes['guests'] = {};

  constructor(lab: string) {
    this.#lab = lab;
  }

  /** `id` without the lab. */
  put(id: string, outcome: StepOutcome): void {
    const key = `${this.#lab}/${id}`;
    if (outcome === 'pending') this.#records.delete(key);
    else if (outcome === 'doing') this.#records.set(key, { state: 'doing', ms: null, error: null });
    else {
      const { ms = null, error = null } = outcome;
      this.#records.set(key, { state: error ? 'failed' : 'done', ms, error });
    }
  }

  /** What failed the last time is tried again. */
  forgetFailures(): void {
    for (const [id, record] of this.#records) if (record.error) this.#records.delete(id);
  }

  /** What was under way when the work ended was not done. */
  forgetDoing(): void {
    for (const [id, record] of this.#records) if (record.state === 'doing') this.#records.delete(id);
  }

  clear(): void {
    this.#records.clear();
    this.#before = {};
  }

  /** Takes over what a core before has measured. */
  recall({ networks, guests }: StepTimes): void {
    for (const [id, ms] of Object.entries(networks)) this.put(id, { ms });
    this.#before = guests;
  }

  /** What the next core can {@link recall}. */
  times(guests: Iterable<readonly [string, GuestStatus]>): StepTimes {
    const networks: Record<string, number> = {};
    for (const [id, { state, ms }] of this.#records)
      if (state === 'done' && ms !== null) networks[id.slice(this.#lab.length + 1)] = ms;
    const running = [...guests].filter(([, { pid }]) => pid !== null);
    return {
      networks,
      guests: Object.fromEntries(
        running.map(([name, status]) => [
          name,
          { ...this.#before[name], ...Object.fromEntries(guestSteps(name, status)) },
        ]),
      ),
    };
  }

  /** Why each of these networks could not be made the last time, by its name. */
  failures(networks: readonly { readonly name: string }[]): ReadonlyMap<string, ErrorData> {
    const failures = new Map<string, ErrorData>();
    for (const { name } of networks)
      for (const id of ['bridge', 'dns']) {
        const error = this.#records.get(`${this.#lab}/${name}/${id}`)?.error;
        if (error) failures.set(name, error);
      }
    return failures;
  }

  /** All, with those that the guests keep of their own starts. */
  with(guests: Iterable<readonly [string, GuestStatus]>): ReadonlyMap<string, StepRecord> {
    const records = new Map(this.#records);
    const done = (id: string, ms: number): void =>
      void records.set(`${this.#lab}/${id}`, { state: 'done', ms, error: null });
    for (const [name, status] of guests) {
      // Of a guest that has ended since, the times say nothing.
      const before = status.pid === null ? {} : (this.#before[name] ?? {});
      for (const [id, ms] of [...Object.entries(before), ...guestSteps(name, status)]) done(id, ms);
    }
    return records;
  }
}
