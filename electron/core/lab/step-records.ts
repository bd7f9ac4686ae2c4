// SPDX-License-Identifier: Apache-2.0
import type { ErrorData } from '../../contract/error.ts';
import type { GuestStatus } from '../guest/spec.ts';
import type { StepRecord } from './rows.ts';

/** How it goes with a step: under way, over (with its time where something was done), failed, or given up. */
export type StepOutcome = { readonly ms?: number; readonly error?: ErrorData } | 'doing' | 'pending';

/** What this core remembers of the recipe's steps that it did. Ids as in the recipe. */
export class StepRecords {
  readonly #lab: string;
  readonly #records = new Map<string, StepRecord>();

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
    for (const [name, { taps, startMs }] of guests) {
      for (const tap of taps) for (const step of tap.steps) done(`${name}/${tap.nic}/${step.id}`, step.ms);
      if (startMs !== null) done(`${name}/qemu`, startMs);
    }
    return records;
  }
}
