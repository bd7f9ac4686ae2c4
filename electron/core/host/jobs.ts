// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { TapyardError } from '../../contract/error.ts';
import type { JobRow } from '../../contract/rows.ts';
import { Table } from './table.ts';

/** Jobs that are over stay in the table so that a window that was reloaded still learns how they ended. */
const keptJobs = 20;

/** What the work of a job sees of it. */
export interface Job {
  readonly id: string;
  /** Aborted by `cancel`. */
  readonly signal: AbortSignal;
  /** Tells what is done now, in words for people, and how far it is (`total` 0: not known). */
  readonly progress: (doing: string, done: number, total: number) => void;
  /** Tells what the user is about to be asked outside of Tapyard, and why; until the next progress. */
  readonly asks: (text: string) => void;
}

/** Long work, in the table `jobs`. */
export class Jobs {
  readonly table = new Table<JobRow>();
  readonly #running = new Map<string, { readonly abort: AbortController; readonly ended: Promise<void> }>();

  /** The running job of that name, if any. */
  running(name: string): string | undefined {
    return this.table.rows().find((row) => row.name === name && row.state === 'running')?.id;
  }

  /**
   * Begins a job, of a lab or of a check, and returns its id. `work` rejects with why it failed; after an abort any rejection counts
   * as cancelled. It is called in the next tick, so the job is in the table before it does anything.
   */
  start(name: string, of: { lab: string } | { check: string }, work: (job: Job) => Promise<void>): string {
    const id = randomBytes(8).toString('hex');
    const abort = new AbortController();
    const update = (change: Partial<JobRow>): void => {
      const row = this.table.get(id);
      if (row) this.table.put({ ...row, ...change });
    };
    this.table.put({
      id,
      lab: null,
      check: null,
      ...of,
      name,
      state: 'running',
      doing: '',
      asks: null,
      done: 0,
      total: 0,
      startedAt: Date.now(),
      endedAt: null,
      error: null,
    });
    const job: Job = {
      id,
      signal: abort.signal,
      progress: (doing, done, total) => update({ doing, asks: null, done, total }),
      asks: (text) => update({ asks: text }),
    };
    const ended = Promise.resolve()
      .then(() => work(job))
      .then(
        () => update({ state: 'done', asks: null, endedAt: Date.now() }),
        (thrown: unknown) => {
          const error = TapyardError.from(thrown);
          const state = abort.signal.aborted && error.code === 'ABORTED' ? 'cancelled' : 'failed';
          update({ state, asks: null, endedAt: Date.now(), error: error.toData() });
        },
      )
      .finally(() => {
        this.#running.delete(id);
        this.#forgetOld();
      });
    this.#running.set(id, { abort, ended });
    return id;
  }

  /** Aborts a job; one that is over, or was never there, stays as it is. */
  cancel(id: string): void {
    this.#running.get(id)?.abort.abort();
  }

  /** Aborts all and waits until they have undone what they did. */
  async cancelAll(): Promise<void> {
    const running = [...this.#running.values()];
    for (const { abort } of running) abort.abort();
    await Promise.all(running.map(({ ended }) => ended));
  }

  #forgetOld(): void {
    const over = this.table.rows().filter((row) => row.endedAt !== null);
    over.sort((a, b) => (a.endedAt ?? 0) - (b.endedAt ?? 0));
    for (const row of over.slice(0, -keptJobs)) this.table.delete(row.id);
  }
}
