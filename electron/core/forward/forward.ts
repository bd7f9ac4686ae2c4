// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from 'node:util';
import { type ErrorData, TapyardError } from '../../contract/error.ts';
import { makePrivateDir } from '../host/runtime-dir.ts';
import { ForwardProcess, type ForwardSpec, type ForwardStatus } from './forward-process.ts';

/** Pauses before a forward that failed or ended by itself is tried again, ms; the last one stays. */
export const retryPauses = [1000, 5000, 30_000];

/** How one forward stands. */
export interface ForwardCondition extends ForwardStatus {
  readonly pid: number | null;
  /** Why nobody listens. */
  readonly error: ErrorData | null;
}

/** One listening address and port: makes what runs there be what is wanted. */
export class Forward {
  readonly #dir: string;
  readonly #changed: () => void;
  #wanted: ForwardSpec | null = null;
  #running: ForwardProcess | undefined;
  #status: ForwardStatus = { flows: 0, failure: null };
  #error: ErrorData | null = null;
  #work: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #failures = 0;
  #released = false;

  constructor(dir: string, changed: () => void, adopted?: ForwardProcess) {
    this.#dir = dir;
    this.#changed = changed;
    if (adopted) this.#take(adopted);
  }

  get condition(): ForwardCondition {
    return { ...this.#status, pid: this.#running?.id.pid ?? null, error: this.#error };
  }

  /** Whether nothing runs and nothing is wanted. */
  get idle(): boolean {
    return this.#wanted === null && !this.#running;
  }

  /** What an adopted process says of itself. */
  tell(status: ForwardStatus): void {
    this.#status = status;
    this.#changed();
  }

  /** Wants it so, or not at all; resolves when it is so, or has failed and will be tried again. */
  async want(spec: ForwardSpec | null): Promise<void> {
    if (!isDeepStrictEqual(spec, this.#wanted)) {
      this.#wanted = spec;
      this.#failures = 0;
      this.#error = null;
      clearTimeout(this.#retry);
      this.#retry = undefined;
    } else if (this.#retry) return;
    this.#work ??= this.#settle()
      .catch((thrown: unknown) => {
        this.#error = TapyardError.from(thrown).toData();
        this.#later();
      })
      .finally(() => (this.#work = undefined));
    await this.#work;
  }

  /** Lets go of the process; it runs on. */
  release(): void {
    this.#released = true;
    clearTimeout(this.#retry);
    this.#running?.release();
  }

  async #settle(): Promise<void> {
    for (;;) {
      const wanted = this.#wanted;
      if (this.#running && !isDeepStrictEqual(this.#running.spec, wanted)) await this.#stop(this.#running);
      if (wanted && !this.#running) await this.#start(wanted);
      // It may have been wanted otherwise meanwhile.
      if (this.#released || this.#wanted === wanted) return;
    }
  }

  async #start(spec: ForwardSpec): Promise<void> {
    try {
      makePrivateDir(this.#dir);
      this.#take(await ForwardProcess.start(this.#dir, spec, (status) => this.tell(status)));
      this.#error = null;
      this.#failures = 0;
    } catch (thrown) {
      this.#error = TapyardError.from(thrown).toData();
      this.#later();
    }
    this.#changed();
  }

  #take(process: ForwardProcess): void {
    this.#running = process;
    void process.ended.then(() => this.#lost(process)).catch(() => undefined);
  }

  /** It is over, or only not heard any more: then it is asked again, and ended where it does not answer. */
  async #lost(process: ForwardProcess): Promise<void> {
    if (this.#released || this.#running !== process) return;
    const again = await process.again((status) => this.tell(status));
    if (this.#released || this.#running !== process) {
      again?.release();
      return;
    }
    if (again) {
      this.#take(again);
      return;
    }
    this.#status = { flows: 0, failure: null };
    this.#running = undefined;
    await process.end();
    this.#later();
    this.#changed();
  }

  async #stop(process: ForwardProcess): Promise<void> {
    this.#running = undefined;
    this.#status = { flows: 0, failure: null };
    await process.end();
    this.#changed();
  }

  /** A port may become free, which nothing tells. */
  #later(): void {
    if (this.#released) return;
    const pause = retryPauses[Math.min(this.#failures++, retryPauses.length - 1)];
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      void this.want(this.#wanted);
    }, pause).unref();
  }
}
