// SPDX-License-Identifier: Apache-2.0
import { ErrorData } from './error.ts';
import { z } from './zod.ts';

/*
 * What serve and a browser's page say to each other before the wire begins (docs/wire.md): the page has opened
 * its WebSocket, serve challenges it, the page introduces itself, serve admits it or says why not.
 */

/** 32 bytes, base64url. */
const Secret = z.string().regex(/^[A-Za-z0-9_-]{43}$/);
const SessionId = z.string().regex(/^[A-Za-z0-9_-]{16}$/);

/** What a page says of itself: the token of its address, or the session that it was given for one. */
export const Introduction = z.discriminatedUnion('t', [
  z.strictObject({ t: z.literal('token'), token: Secret }),
  /** `proof` is HMAC-SHA256 of the challenge's characters by the session key's bytes, base64url. */
  z.strictObject({ t: z.literal('proof'), session: SessionId, proof: Secret }),
]);
export type Introduction = z.infer<typeof Introduction>;

/** What a page keeps for its next connection, in sessionStorage. */
export const SessionKey = z.object({ id: SessionId, key: Secret });
export type SessionKey = z.infer<typeof SessionKey>;

/** What serve says. After `session` or `welcome` the page begins the wire with its hello. */
export const Greeting = z.discriminatedUnion('t', [
  z.object({ t: z.literal('challenge'), challenge: Secret }),
  z.object({ t: z.literal('session'), id: SessionId, key: Secret }),
  z.object({ t: z.literal('welcome') }),
  z.object({ t: z.literal('denied'), error: ErrorData }),
]);
export type Greeting = z.infer<typeof Greeting>;
