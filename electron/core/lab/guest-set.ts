// SPDX-License-Identifier: Apache-2.0
import type { Subscription } from '../../contract/client.ts';
import { TapyardError } from '../../contract/error.ts';
import { noSuchGuest } from '../../contract/no-such-guest.ts';
import { isShape } from '../../contract/shape.ts';
import { resolveImage } from '../image/image.ts';
import type { Engine, GuestHandle } from './engine.ts';
import type { ResolvedGuest } from './resolve.ts';
import { strayGuests } from './strays.ts';

type Spec = Parameters<Engine['guest']>[0];

/** A guest's spec for the engine. A relative image is relative to `dir`, the lab file's directory. */
export function guestSpec(wanted: ResolvedGuest, dir: string): Spec {
  return {
    name: wanted.name,
    image: resolveImage(wanted.image, dir),
    memory: wanted.memory,
    cpus: wanted.cpus,
    nics: wanted.nics.map(({ index, network, mac, tap, shape }) => ({
      index,
      network,
      mac,
      tap,
      ...(isShape(shape) ? { shape } : {}),
    })),
  };
}

/** The guests of a lab: those of its file, and those that left it and still run. */
export class GuestSet {
  readonly #lab: string;
  readonly #changed: () => void;
  readonly #guests = new Map<string, { readonly handle: GuestHandle; readonly following: Subscription }>();
  #wanted: ReadonlySet<string> = new Set();

  /** `changed` is called after each change of a guest's status. */
  constructor(lab: string, changed: () => void) {
    this.#lab = lab;
    this.#changed = changed;
  }

  /** By name. */
  get handles(): ReadonlyMap<string, GuestHandle> {
    return new Map([...this.#guests].map(([name, { handle }]) => [name, handle]));
  }

  /** Throws NO_SUCH_GUEST. */
  get(name: string): GuestHandle {
    const guest = this.#guests.get(name);
    if (guest) return guest.handle;
    throw noSuchGuest(this.#lab, name);
  }

  /** Whether a QEMU of the lab runs. */
  get anyAlive(): boolean {
    return [...this.#guests.values()].some(({ handle }) => handle.status.pid !== null);
  }

  /** Makes the set that of the file; a running guest takes its new spec with its next start. */
  settle(specs: readonly Spec[], engine: Engine): void {
    this.#wanted = new Set(specs.map((spec) => spec.name));
    for (const spec of specs) {
      const known = this.#guests.get(spec.name)?.handle;
      if (known) known.spec = { ...spec, lab: this.#lab, netdSocket: engine.netdSocket };
      else this.#add(spec, engine);
    }
    this.dropGone();
  }

  #add(spec: Spec, engine: Engine): void {
    const handle = engine.guest(spec);
    this.#guests.set(spec.name, { handle, following: handle.onChange(this.#changed) });
  }

  /** Lets go of guests that left the file and do not run. */
  dropGone(): void {
    for (const [name, { handle, following }] of this.#guests) {
      if (this.#wanted.has(name) || handle.status.pid !== null || handle.status.state === 'starting')
        continue;
      this.#guests.delete(name);
      following.close();
      void handle.release();
    }
  }

  /** Takes over every QEMU that an earlier core started, also of guests that left the file since; what went wrong. */
  async adopt(engine: Engine): Promise<TapyardError[]> {
    for (const stray of strayGuests(this.#lab, this.#wanted)) this.#add(stray, engine);
    const results = await Promise.allSettled([...this.#guests.values()].map(({ handle }) => handle.adopt()));
    this.dropGone();
    return results.flatMap((result) =>
      result.status === 'rejected' ? [TapyardError.from(result.reason)] : [],
    );
  }

  /** Lets go of all; they run on. */
  async release(): Promise<void> {
    await Promise.all(
      [...this.#guests.values()].map(async ({ handle, following }) => {
        following.close();
        await handle.release();
      }),
    );
    this.#guests.clear();
  }
}
