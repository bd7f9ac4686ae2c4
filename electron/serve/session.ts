// SPDX-License-Identifier: Apache-2.0
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { TapyardError } from '../contract/error.ts';
import type { Introduction, SessionKey } from '../contract/handshake.ts';

/*
 * How a page proves that it was opened by this user. The address has a token in its fragment, which no server
 * log, no Referer and no list of processes shows. It works once, within 60 s; what it gives is a session key
 * that the page keeps in sessionStorage and never sends again: it proves it by an HMAC of a fresh challenge.
 * No cookie: one for 127.0.0.1 would go to every port there, forwards into hostile guests included.
 */

/** How long a token works, ms. */
export const tokenLifetime = 60_000;
/** Sessions and tokens that are kept; the oldest goes first. */
const kept = 32;

const random = (bytes: number): string => randomBytes(bytes).toString('base64url');

/** What a page proves a session with: HMAC-SHA256 of the challenge by the key's bytes, base64url. */
export function proofOf(key: string, challenge: string): string {
  return createHmac('sha256', Buffer.from(key, 'base64url')).update(challenge).digest('base64url');
}

type Token = { readonly expires: number; session: string | undefined };

/** The tokens and sessions of one serve. */
export class Sessions {
  readonly #tokens = new Map<string, Token>();
  readonly #sessions = new Map<string, SessionKey>();
  readonly #now: () => number;
  /** What closes the connections of each session. */
  readonly #connections = new Map<string, Set<() => void>>();

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** A new token for one address. */
  issue(): string {
    const token = random(32);
    this.#tokens.set(token, { expires: this.#now() + tokenLifetime, session: undefined });
    dropOldest(this.#tokens);
    return token;
  }

  /** A challenge for one connection. */
  challenge(): string {
    return random(32);
  }

  /**
   * Admits a page that introduces itself.
   * @returns its session; `fresh` when it was made just now and the page must be told its key
   * @throws TapyardError SESSION_INVALID
   */
  admit(introduction: Introduction, challenge: string): { session: SessionKey; fresh: boolean } {
    if (introduction.t === 'token') return { session: this.#redeem(introduction.token), fresh: true };
    const session = this.#sessions.get(introduction.session);
    const expected = session === undefined ? undefined : proofOf(session.key, challenge);
    if (session === undefined || expected === undefined || !equal(expected, introduction.proof)) {
      throw invalid('This page’s session has ended.');
    }
    return { session, fresh: false };
  }

  /** Notes a connection of a session, `close`d when the session is revoked; the result takes it back. */
  join(session: SessionKey, close: () => void): () => void {
    const own = this.#connections.get(session.id) ?? new Set();
    this.#connections.set(session.id, own);
    own.add(close);
    return () => own.delete(close);
  }

  #revoke(session: string): void {
    this.#sessions.delete(session);
    for (const close of this.#connections.get(session) ?? []) close();
    this.#connections.delete(session);
  }

  #redeem(given: string): SessionKey {
    // A map finds by hash, not by comparing byte after byte: its time tells nothing about a secret of 256 bits.
    const token = this.#tokens.get(given);
    if (token === undefined) throw invalid('This address does not work (any more).');
    if (token.session !== undefined) {
      // Two have the same address: one of them may not be the user. Neither stays.
      this.#revoke(token.session);
      throw invalid('This address was used a second time, so the first page was closed too.');
    }
    if (this.#now() > token.expires) throw invalid('This address is older than 60 s.');
    const session = { id: random(12), key: random(32) };
    token.session = session.id;
    this.#sessions.set(session.id, session);
    dropOldest(this.#sessions);
    return session;
  }
}

function dropOldest(map: Map<string, unknown>): void {
  const oldest = map.keys().next();
  if (map.size > kept && oldest.done !== true) map.delete(oldest.value);
}

function equal(left: string, right: string): boolean {
  const [one, other] = [Buffer.from(left), Buffer.from(right)];
  return one.length === other.length && timingSafeEqual(one, other);
}

function invalid(message: string): TapyardError {
  return new TapyardError('SESSION_INVALID', message, {
    hint: 'Press Enter where tapyard serve runs, or start it again, and open the new address.',
  });
}
