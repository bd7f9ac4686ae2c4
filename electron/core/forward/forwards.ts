// SPDX-License-Identifier: Apache-2.0
import type { ForwardRow } from '../../contract/rows.ts';
import type { Engine } from '../lab/engine.ts';
import { forwardRow, ForwardSet, type WantedForward } from './forward-set.ts';
import { type Exposer, RuleSet } from './rule-set.ts';
import { udpRefusal, wayOf } from './way.ts';

/** What makes forwards. */
type Maker = Exposer & Pick<Engine, 'scope' | 'netdSocket'>;

interface Wish {
  readonly wanted: readonly WantedForward[];
  readonly maker: Maker;
}

/** All forwards of a lab, each the way that it can be made. */
export class Forwards {
  readonly #lab: string;
  readonly #processes: ForwardSet;
  readonly #rules: RuleSet;
  #wish: Wish | undefined;
  #work: Promise<void> | undefined;
  #released = false;

  /** `changed` is called after each change of a row that nothing else tells of. */
  constructor(lab: string, changed: () => void) {
    this.#lab = lab;
    this.#processes = new ForwardSet(lab, changed);
    this.#rules = new RuleSet(lab, changed);
  }

  /** Takes over what an earlier core started. */
  async adopt(): Promise<void> {
    await this.#processes.adopt();
  }

  /** Makes all that; resolves when each one is there, has failed or is gone. */
  async settle(wanted: readonly WantedForward[], maker: Maker): Promise<void> {
    this.#wish = { wanted, maker };
    this.#work ??= this.#settle().finally(() => (this.#work = undefined));
    await this.#work;
  }

  async #settle(): Promise<void> {
    for (;;) {
      const wish = this.#wish;
      if (!wish || this.#released) return;
      const { wanted, maker } = wish;
      const byRule = wanted.filter((forward) => wayOf(forward, maker) === 'rule');
      const byProcess = wanted.filter(
        (forward) => wayOf(forward, maker) === 'process' && !udpRefusal(forward, maker),
      );
      // Whoever has the port lets it go first.
      await this.#rules.withdraw(byRule, maker);
      await this.#processes.settle(byProcess, maker.netdSocket);
      await this.#rules.make(maker);
      // Something else may be wanted meanwhile.
      if (this.#wish === wish) return;
    }
  }

  /** How each one that is wanted stands. */
  rows(): ForwardRow[] {
    return [
      ...this.#processes.rows(),
      ...this.#rules.rows(this.#wish?.maker.picture ?? null),
      ...this.#refused(),
    ];
  }

  #refused(): ForwardRow[] {
    const { wanted = [], maker } = this.#wish ?? {};
    return wanted.flatMap((forward) => {
      const refused = maker && udpRefusal(forward, maker);
      if (!refused) return [];
      const error = refused.toData();
      return [
        forwardRow(this.#lab, forward, {
          way: 'rule',
          state: 'failed',
          at: [],
          flows: null,
          pid: null,
          error,
        }),
      ];
    });
  }

  /** Lets go of all; they run on. What is under way is waited for. */
  async release(): Promise<void> {
    this.#released = true;
    await this.#work?.catch(() => undefined);
    this.#rules.release();
    await this.#processes.release();
  }
}
