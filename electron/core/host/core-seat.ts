// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '../../contract/connect.ts';
import { serveChannel } from '../../contract/dispatch.ts';
import type { Audience } from '../../contract/leaf.ts';
import { effectiveAudience, Hello, parseMessage, type Role } from '../../contract/wire.ts';
import { joinCore, type ElectionOptions, type Host, type Member } from './election.ts';
import { relay, type PausableChannel } from './socket-channel.ts';

/** The same hello with `role`, so that a page cannot say that it is the CLI. Anything else passes and is refused by the core. */
export function helloAs(role: Role, message: string | Uint8Array): string | Uint8Array {
  const hello = typeof message === 'string' ? parseMessage(Hello, message) : undefined;
  return hello === undefined ? message : JSON.stringify({ ...hello, role });
}

const retryEvery = 1000;
/** Whoever has closed the window has gone; an `up` in a terminal may be about to be done. */
const settleDeadline = 5000;
const helloDeadline = 5000;

/** Resolves when the core at the other end of the channel goes. */
async function gone(channel: PausableChannel): Promise<void> {
  try {
    const connecting = connect(channel, { role: 'cli', lasting: true, deadlineMs: helloDeadline });
    channel.resume();
    await (
      await connecting
    ).closed;
  } catch {
    channel.close();
  }
}

/**
 * The place at the core of a process that shows windows: it hosts the core where nobody does, else relays to
 * the host. When the host goes, the channels end, their pages connect again, and the first to do so finds a
 * new host or makes this process one.
 */
export class CoreSeat {
  readonly #options: ElectionOptions;
  #host: Promise<Host | undefined> | undefined;
  #closed = false;

  constructor(options: ElectionOptions) {
    this.#options = options;
  }

  /**
   * Joins a window's `channel`, which must be paused, to the core, with no more rights than `role` has.
   * @throws TapyardError CORE_UNREACHABLE, or what starting the core throws; the channel is the caller's to close
   */
  async attach(channel: PausableChannel, role: Role): Promise<void> {
    const core = await this.#join();
    if (core.kind === 'host') this.#serve(channel, core, role);
    else {
      relay(channel, core.channel, (message) => helloAs(role, message));
      channel.resume();
    }
  }

  /**
   * Sees to it that there is a core for as long as this process lives, also while nobody looks: it follows the
   * guests and drains their serial consoles, whose ttys block in the guest otherwise. Resolves when there is
   * one; takes over whenever a host elsewhere goes.
   * @throws TapyardError CORE_UNREACHABLE, or what starting the core throws, at the first attempt only
   */
  async hold(): Promise<void> {
    const core = await this.#join();
    if (core.kind === 'client') void this.#takeOver(core);
  }

  async #takeOver(member: Member): Promise<void> {
    await gone(member.channel);
    while (!this.#closed) {
      try {
        const core = await this.#join();
        if (core.kind === 'host') return;
        await gone(core.channel);
      } catch {
        // Whoever looks is told why there is none; the next attempt may find the cause mended.
        await sleep(retryEvery);
      }
    }
  }

  /** The core, here or elsewhere. One election at a time: two that begin at once must not race for the lock. */
  async #join(): Promise<Host | Member> {
    while (this.#host !== undefined) {
      const pending = this.#host;
      const host = await pending;
      if (host !== undefined) return host;
      // Somebody who waited for the same answer may have begun the next election already.
      if (this.#host === pending) this.#host = undefined;
    }
    const joining = joinCore(this.#options);
    this.#host = joining.then(
      (core) => (core.kind === 'host' ? core : undefined),
      () => undefined,
    );
    const core = await joining;
    if (this.#closed && core.kind === 'host') await core.close();
    return core;
  }

  /** Whether the core runs in this process. */
  async hosts(): Promise<boolean> {
    return (await this.#host) !== undefined;
  }

  /** Ends the core where it runs here, after a moment for what commands elsewhere do in it. Guests run on. */
  async close(): Promise<void> {
    this.#closed = true;
    const host = await this.#host;
    await host?.settled(settleDeadline);
    await host?.close();
  }

  #serve(channel: PausableChannel, host: Host, role: Role): void {
    const most: Audience = effectiveAudience('shell', role);
    serveChannel(channel, host.server, { audience: most });
    channel.resume();
  }
}
