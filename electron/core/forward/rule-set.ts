// SPDX-License-Identifier: Apache-2.0
import { type ErrorData, TapyardError } from '../../contract/error.ts';
import type { ForwardRow } from '../../contract/rows.ts';
import type { Engine } from '../lab/engine.ts';
import type { NetdExposure, NetdNetwork } from '../net/netd-protocol.ts';
import type { Picture } from '../net/picture.ts';
import { retryPauses } from './forward.ts';
import { forwardRow, type WantedForward } from './forward-set.ts';

/** Who makes the rules, and what is observed of them. */
export type Exposer = Pick<Engine, 'picture' | 'expose' | 'unexpose'>;

type Observed = NetdNetwork['exposed'][number] & { readonly network: NetdNetwork };

const keyOf = ({ address, protocol, port }: Omit<NetdExposure, 'to' | 'to_port'>): string =>
  `${address}:${port}/${protocol}`;

const isSame = (one: NetdExposure, other: NetdExposure): boolean =>
  keyOf(one) === keyOf(other) && one.to === other.to && one.to_port === other.to_port;

/** What is asked of netd for a forward; undefined while the guest has no address. */
const exposureOf = ({ address, protocol, port, target, to }: WantedForward): NetdExposure | undefined =>
  target === null ? undefined : { address, protocol, port, to: target, to_port: to };

/** The forwards of a lab that are rules: netd makes and keeps them, and what it tells is what there is. */
export class RuleSet {
  readonly #lab: string;
  readonly #changed: () => void;
  #wanted: readonly WantedForward[] = [];
  readonly #failed = new Map<string, Failure>();

  /** `changed` is called when a rule has failed, and when it is time to try again. */
  constructor(lab: string, changed: () => void) {
    this.#lab = lab;
    this.#changed = changed;
  }

  /** Takes away what is not among these. */
  async withdraw(wanted: readonly WantedForward[], engine: Exposer): Promise<void> {
    this.#wanted = wanted;
    const exposures = wanted.flatMap((forward) => exposureOf(forward) ?? []);
    const keys = new Set(exposures.map(keyOf));
    for (const [key, failure] of this.#failed) {
      if (keys.has(key)) continue;
      failure.forget();
      this.#failed.delete(key);
    }
    for (const { exposure } of this.#observed(engine.picture)) {
      // One that leads elsewhere is replaced; what cannot be taken away goes with its network.
      if (!keys.has(keyOf(exposure))) await engine.unexpose(exposure).catch(() => undefined);
    }
  }

  /** Makes those that are wanted and not there. */
  async make(engine: Exposer): Promise<void> {
    for (const forward of this.#wanted) {
      const exposure = exposureOf(forward);
      if (!exposure || engine.picture === null) continue;
      const there = this.#observed(engine.picture).some((observed) => isSame(observed.exposure, exposure));
      const key = keyOf(exposure);
      const failure = this.#failed.get(key);
      if (there || (failure?.waits && isSame(failure.exposure, exposure))) continue;
      try {
        await engine.expose(exposure);
        failure?.forget();
        this.#failed.delete(key);
      } catch (thrown) {
        failure?.forget();
        const error = TapyardError.from(thrown).toData();
        this.#failed.set(key, new Failure(exposure, error, (failure?.count ?? 0) + 1, this.#changed));
        this.#changed();
      }
    }
  }

  /** How each one that is wanted stands. */
  rows(picture: Picture | null): ForwardRow[] {
    const all = this.#observed(picture);
    return this.#wanted.map((forward) => {
      const exposure = exposureOf(forward);
      const observed = exposure && all.find((each) => isSame(each.exposure, exposure));
      const error = exposure ? (this.#failed.get(keyOf(exposure))?.error ?? null) : null;
      const at = observed?.at ?? [];
      const shut = observed?.network.mode === 'nat' && !observed.network.nat;
      const state = at.length > 0 ? (shut ? 'blocked' : 'listening') : error ? 'failed' : 'waiting';
      return forwardRow(this.#lab, forward, { way: 'rule', state, at, flows: null, pid: null, error });
    });
  }

  /** Tries nothing any more; what is there stays. */
  release(): void {
    for (const failure of this.#failed.values()) failure.forget();
    this.#failed.clear();
  }

  #observed(picture: Picture | null): Observed[] {
    return [...(picture?.networks.values() ?? [])]
      .filter(({ lab }) => lab === this.#lab)
      .flatMap((network) => network.exposed.map((each) => ({ ...each, network })));
  }
}

/** A rule that was refused, until it is tried again: a port may become free, which nothing tells. */
class Failure {
  readonly exposure: NetdExposure;
  readonly error: ErrorData;
  readonly count: number;
  readonly #timer: NodeJS.Timeout;
  waits = true;

  constructor(exposure: NetdExposure, error: ErrorData, count: number, again: () => void) {
    this.exposure = exposure;
    this.error = error;
    this.count = count;
    const pause = retryPauses[Math.min(count, retryPauses.length) - 1];
    this.#timer = setTimeout(() => {
      this.waits = false;
      again();
    }, pause).unref();
  }

  forget(): void {
    clearTimeout(this.#timer);
  }
}
