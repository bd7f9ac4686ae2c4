// SPDX-License-Identifier: Apache-2.0
import { TapyardError } from '../../contract/error.ts';
import type { Plan } from '../guest/prepare.ts';
import type { GuestHandle } from './engine.ts';

/** How the guests of a lab would be started now, for the recipe. */
export class PlannedStarts {
  #known: ReadonlyMap<string, Plan | TapyardError> = new Map();
  #looking: Promise<void> = Promise.resolve();

  /** By guest; an error where it would not start. What takes a probe of the accelerator to know is not there. */
  get known(): ReadonlyMap<string, Plan | TapyardError> {
    return this.#known;
  }

  /** Looks again; what takes seconds to know only with `probe`. Never rejects. */
  async look(guests: ReadonlyMap<string, Pick<GuestHandle, 'plan'>>, probe: boolean): Promise<void> {
    this.#looking = this.#looking.then(async () => {
      const plans = await Promise.all(
        [...guests].map(async ([name, guest]) => {
          const plan = await guest.plan(probe).catch((error: unknown) => TapyardError.from(error));
          return plan === undefined ? [] : [[name, plan] as const];
        }),
      );
      this.#known = new Map(plans.flat());
    });
    await this.#looking;
  }
}
