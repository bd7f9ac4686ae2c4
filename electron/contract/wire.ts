// SPDX-License-Identifier: Apache-2.0
import { contract } from './contract.ts';
import { ErrorData, TapyardError } from './error.ts';
import type { Audience, Leaf } from './leaf.ts';
import { z } from './zod.ts';

/*
 * The messages of the wire (docs/wire.md). Text messages are JSON control messages, binary ones are frames
 * of a byte stream. The shapes of `hello` and `refused` never change but by keys that may be left out: by
 * them an upgraded window and an old core tell each other that they do not fit.
 */

const Id = z.number().int().min(1).max(0xffff_ffff);
const LeafName = z.string().min(3).max(64);
const Count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const RowId = z.string().max(1024);

/** Who the client says it is. It can only lower what its transport already allows. */
export const Role = z.enum(['browser', 'cli', 'window', 'shell']);
export type Role = z.infer<typeof Role>;

/** The first message of a client. Unknown keys are let through: a newer client must be told, not cut off. */
export const Hello = z.object({
  t: z.literal('hello'),
  contract: z.string().max(64),
  role: Role,
  /** A command that goes on until its user ends it, and finds another core when this one goes. */
  lasting: z.boolean().optional(),
});
export type Hello = z.infer<typeof Hello>;

/** What a client sends after its hello. */
export const ClientMessage = z.discriminatedUnion('t', [
  z.strictObject({ t: z.literal('call'), id: Id, leaf: LeafName, in: z.unknown() }),
  z.strictObject({ t: z.literal('abort'), id: Id }),
  z.strictObject({ t: z.literal('subscribe'), id: Id, leaf: LeafName }),
  z.strictObject({ t: z.literal('unsubscribe'), id: Id }),
  /** Asks for a new snapshot of a table after a gap. */
  z.strictObject({ t: z.literal('resnapshot'), id: Id }),
  /** Opens a byte stream; `credit` bytes may be sent at first. */
  z.strictObject({ t: z.literal('open'), id: Id, leaf: LeafName, in: z.unknown(), credit: Count }),
  z.strictObject({ t: z.literal('credit'), id: Id, bytes: Count }),
  z.strictObject({ t: z.literal('close'), id: Id }),
  /** Whether somebody looks; gauges rest while nobody does. */
  z.strictObject({ t: z.literal('visible'), visible: z.boolean() }),
]);
export type ClientMessage = z.infer<typeof ClientMessage>;

/** What a core sends. */
export const ServerMessage = z.discriminatedUnion('t', [
  z.object({ t: z.literal('hello'), contract: z.string().max(64) }),
  /** The last message of a connection: why the core closes it. */
  z.object({ t: z.literal('refused'), error: ErrorData }),
  z.strictObject({ t: z.literal('ok'), id: Id, out: z.unknown() }),
  z.strictObject({ t: z.literal('error'), id: Id, error: ErrorData }),
  z.strictObject({
    t: z.literal('full'),
    id: Id,
    epoch: z.string().max(128),
    rev: Count,
    rows: z.array(z.unknown()),
  }),
  /** Takes a table from revision `from` to `rev`; several changes of one tick travel as one. */
  z.strictObject({
    t: z.literal('change'),
    id: Id,
    epoch: z.string().max(128),
    from: Count,
    rev: Count,
    put: z.array(z.unknown()),
    del: z.array(RowId),
  }),
  z.strictObject({ t: z.literal('gauge'), id: Id, values: z.array(z.tuple([RowId, z.unknown()])) }),
  z.strictObject({ t: z.literal('skip'), id: Id, offset: Count }),
  z.strictObject({ t: z.literal('end'), id: Id, error: ErrorData.optional() }),
]);
export type ServerMessage = z.infer<typeof ServerMessage>;

/** Bytes before the payload of a frame: stream id (u32) and offset (u64), both big-endian. */
export const frameHeader = 12;

/** One frame of a byte stream: [u32 stream][u64 offset of the first byte][payload], big-endian. */
export function encodeFrame(stream: number, offset: number, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(frameHeader + payload.length);
  const view = new DataView(frame.buffer);
  view.setUint32(0, stream);
  view.setUint32(4, Math.floor(offset / 0x1_0000_0000));
  view.setUint32(8, offset % 0x1_0000_0000);
  frame.set(payload, frameHeader);
  return frame;
}

/** The parts of a frame, `payload` a view of it; undefined when it is too short or its offset over 2^53. */
export function decodeFrame(
  frame: Uint8Array,
): { stream: number; offset: number; payload: Uint8Array } | undefined {
  if (frame.length < frameHeader) return undefined;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const offset = view.getUint32(4) * 0x1_0000_0000 + view.getUint32(8);
  if (!Number.isSafeInteger(offset)) return undefined;
  return { stream: view.getUint32(0), offset, payload: frame.subarray(frameHeader) };
}

/** A JSON text as a message of `schema`; undefined when it is none. Never throws. */
export function parseMessage<Schema extends z.ZodType>(
  schema: Schema,
  text: string,
): z.output<Schema> | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const parsed = schema.safeParse(value);
  return parsed.success ? parsed.data : undefined;
}

/** Every leaf of the contract by its name on the wire, `group.leaf`. */
export const leaves: ReadonlyMap<string, Leaf> = new Map(
  Object.entries(contract).flatMap(([group, members]) =>
    Object.entries(members).map(([name, leaf]): [string, Leaf] => [`${group}.${name}`, leaf]),
  ),
);

const rank: Record<Audience, number> = { anyone: 0, user: 1, shell: 2 };
const roleAudience: Record<Role, Audience> = {
  browser: 'anyone',
  cli: 'user',
  window: 'user',
  shell: 'shell',
};

/** What a client of `role` may use on a transport that allows `granted`: the smaller of the two. */
export function effectiveAudience(granted: Audience, role: Role): Audience {
  const asked = roleAudience[role];
  return rank[asked] < rank[granted] ? asked : granted;
}

/** Whether `has` may use what is meant for `needs`. */
export const mayUse = (has: Audience, needs: Audience): boolean => rank[has] >= rank[needs];

/** The message that ends a connection and says why, for whoever stands between a client and a core. */
export const refused = (error: TapyardError): string => {
  const message: ServerMessage = { t: 'refused', error: error.toData() };
  return JSON.stringify(message);
};

/** The core is of another version. */
export function contractMismatch(): TapyardError {
  return new TapyardError(
    'CONTRACT_MISMATCH',
    'This Tapyard and the one that is already running here are of different versions.',
    {
      hint: 'Close the Tapyard that is running (its window, or `tapyard serve`) and try again. Your guests keep running meanwhile.',
    },
  );
}

/** A message of zod's findings for people: `guest: a name is needed`. */
export function issuesText(error: z.ZodError): string {
  return error.issues
    .slice(0, 5)
    .map((issue) => (issue.path.length === 0 ? issue.message : `${issue.path.join('.')}: ${issue.message}`))
    .join('; ')
    .slice(0, 2000);
}
