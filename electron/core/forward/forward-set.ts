// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import { type Listening, listeningText, type NetworkMode } from '../../contract/lab-file.ts';
import type { ForwardRow } from '../../contract/rows.ts';
import { labDir } from '../host/runtime-dir.ts';
import { Forward } from './forward.ts';
import { ForwardProcess, type ForwardSpec } from './forward-process.ts';

/** A forward as the lab file wants it. */
export interface WantedForward extends Readonly<Listening> {
  readonly guest: string;
  readonly to: number;
  /** The guest's address; null while it has none or the lab is down. */
  readonly target: string | null;
  /** What the network of that address reaches. */
  readonly mode: NetworkMode | null;
}

/** The row of a forward. */
export const forwardRow = (
  lab: string,
  { guest, address, port, protocol, to, target }: WantedForward,
  now: Pick<ForwardRow, 'way' | 'state' | 'at' | 'flows' | 'pid' | 'error'>,
): ForwardRow => ({
  id: `${lab}/${guest}/${listeningText({ address, port, protocol })}`,
  lab,
  guest,
  address,
  port,
  protocol,
  to,
  target,
  ...now,
});

const keyOf = ({ address, port }: Omit<Listening, 'protocol'>): string => `${address}:${port}`;

/** The runtime directory of a lab's forwards. */
export const forwardsDir = (lab: string): string => join(labDir(lab), 'forwards');

/** The forwards of a lab that are processes: one for each that the file wants and whose guest has an address. */
export class ForwardSet {
  readonly #lab: string;
  readonly #changed: () => void;
  readonly #forwards = new Map<string, Forward>();
  #wanted: readonly WantedForward[] = [];
  #settling: Promise<unknown> = Promise.resolve();

  /** `changed` is called after each change of a row. */
  constructor(lab: string, changed: () => void) {
    this.#lab = lab;
    this.#changed = changed;
  }

  /** Takes over what an earlier core started. */
  async adopt(): Promise<void> {
    const dir = forwardsDir(this.#lab);
    const early = new Map<string, Parameters<Forward['tell']>[0]>();
    const adopted = await ForwardProcess.adopt(dir, (spec, status) => {
      const forward = this.#forwards.get(keyOf(spec));
      if (forward) forward.tell(status);
      else early.set(keyOf(spec), status);
    });
    for (const process of adopted) {
      const key = keyOf(process.spec);
      const forward = new Forward(dir, this.#changed, process);
      this.#forwards.set(key, forward);
      const status = early.get(key);
      if (status) forward.tell(status);
    }
  }

  /** Makes the set that; resolves when each one listens, has failed or is gone. */
  async settle(wanted: readonly WantedForward[], netdSocket: string): Promise<void> {
    this.#wanted = wanted;
    const specs = new Map<string, ForwardSpec | null>([...this.#forwards.keys()].map((key) => [key, null]));
    for (const { address, port, to, target } of wanted)
      specs.set(
        keyOf({ address, port }),
        target === null ? null : { lab: this.#lab, address, port, target, to, netdSocket },
      );
    this.#settling = Promise.all(
      [...specs].map(async ([key, spec]) => {
        const known = this.#forwards.get(key);
        if (!known && spec === null) return;
        const forward = known ?? new Forward(forwardsDir(this.#lab), this.#changed);
        this.#forwards.set(key, forward);
        await forward.want(spec);
        if (forward.idle) this.#forwards.delete(key);
      }),
    );
    await this.#settling;
  }

  /** How each one that is wanted stands. */
  rows(): ForwardRow[] {
    return this.#wanted.map((forward) => {
      const { address } = forward;
      const now = this.#forwards.get(keyOf(forward))?.condition;
      const listens = now !== undefined && now.pid !== null;
      return forwardRow(this.#lab, forward, {
        way: 'process',
        state: listens ? 'listening' : now?.error ? 'failed' : 'waiting',
        // 0.0.0.0 is no address that a program can go to.
        at: listens ? [address === '0.0.0.0' ? '127.0.0.1' : address] : [],
        flows: now?.flows ?? 0,
        pid: now?.pid ?? null,
        error: now?.error ?? now?.failure ?? null,
      });
    });
  }

  /** Lets go of all; they run on. What is under way is waited for. */
  async release(): Promise<void> {
    await this.#settling;
    for (const forward of this.#forwards.values()) forward.release();
    this.#forwards.clear();
  }
}
