// SPDX-License-Identifier: Apache-2.0
import type { NetdClient } from '../net/netd-client.ts';

/**
 * One netd, which in the host scope serves all labs of this core. Whoever begins or ends to use it does so one
 * after the other: the last lab's `down` sends it away, and must not meet another's first `up`.
 */
export class SharedNetd {
  static readonly #all = new Map<string, SharedNetd>();
  /** Engines whose lab is up or comes up in it. */
  readonly users = new Set<object>();
  /** Connections of this core. */
  readonly clients = new Set<NetdClient>();
  #last: Promise<unknown> = Promise.resolve();

  /** The one that listens on this socket. */
  static at(socket: string): SharedNetd {
    const known = SharedNetd.#all.get(socket);
    if (known) return known;
    const made = new SharedNetd();
    SharedNetd.#all.set(socket, made);
    return made;
  }

  /** Whether somebody else than `user` uses it. */
  isUsedBeside(user: object): boolean {
    return [...this.users].some((other) => other !== user);
  }

  /** Keeps a connection in `clients` for as long as it lasts. */
  connected(client: NetdClient): void {
    this.clients.add(client);
    void client.closed.then(() => this.clients.delete(client));
  }

  /** Does the work when whoever came before is done. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }
}
