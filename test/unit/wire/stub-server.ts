// SPDX-License-Identifier: Apache-2.0
import { TapyardError } from '../../../electron/contract/error.ts';
import type { GaugeSource, Server, TableSource } from '../../../electron/contract/server.ts';

/** A table whose changes a test makes by hand. */
export class StubTable<Row extends { id: string }> implements TableSource<Row> {
  epoch = 'one';
  rev = 0;
  readonly #rows = new Map<string, Row>();
  readonly #listeners = new Set<(put: readonly Row[], del: readonly string[]) => void>();

  get listeners(): number {
    return this.#listeners.size;
  }

  rows(): readonly Row[] {
    return [...this.#rows.values()];
  }

  subscribe(listener: (put: readonly Row[], del: readonly string[]) => void): { close(): void } {
    this.#listeners.add(listener);
    return { close: () => this.#listeners.delete(listener) };
  }

  change(put: readonly Row[], del: readonly string[] = []): void {
    for (const id of del) this.#rows.delete(id);
    for (const row of put) this.#rows.set(row.id, row);
    this.rev += 1;
    for (const listener of this.#listeners) listener(put, del);
  }
}

/** A gauge whose values a test sets by hand. */
export class StubGauge<Value> implements GaugeSource<Value> {
  readonly #listeners = new Set<(values: ReadonlyMap<string, Value>) => void>();

  get listeners(): number {
    return this.#listeners.size;
  }

  subscribe(listener: (values: ReadonlyMap<string, Value>) => void): { close(): void } {
    this.#listeners.add(listener);
    return { close: () => this.#listeners.delete(listener) };
  }

  set(id: string, value: Value): void {
    for (const listener of this.#listeners) listener(new Map([[id, value]]));
  }
}

const refuse = (): Promise<never> =>
  Promise.reject(new TapyardError('NO_SUCH_GUEST', 'There is no such guest.'));

/** A server that does nothing; a test replaces the members it looks at. */
export function stubServer(): Server {
  return {
    lab: { open: refuse, forget: refuse, up: refuse, move: refuse, down: refuse },
    guest: {
      start: refuse,
      shutdown: refuse,
      forceOff: refuse,
      pause: refuse,
      resume: refuse,
      reset: refuse,
      setLink: refuse,
      setShape: refuse,
      create: refuse,
      remove: refuse,
      addNic: refuse,
      removeNic: refuse,
    },
    network: { subnets: refuse, create: refuse, change: refuse, remove: refuse, setNat: refuse },
    forward: { add: refuse, remove: refuse },
    recipe: { script: refuse },
    check: { run: () => Promise.resolve({ results: [] }), mend: refuse },
    image: { list: () => Promise.resolve({ images: [] }) },
    job: { cancel: () => Promise.resolve({}) },
    command: { run: refuse },
    core: { quit: () => Promise.resolve({}) },
    tables: {
      host: new StubTable(),
      labs: new StubTable(),
      networks: new StubTable(),
      links: new StubTable(),
      guests: new StubTable(),
      forwards: new StubTable(),
      steps: new StubTable(),
      jobs: new StubTable(),
      acts: new StubTable(),
    },
    gauges: { rates: new StubGauge(), flows: new StubGauge(), tails: new StubGauge(), cpu: new StubGauge() },
    consoles: { serial: refuse, screen: refuse },
  };
}
