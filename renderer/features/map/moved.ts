// SPDX-License-Identifier: Apache-2.0
import { z } from '../../../electron/contract/zod.ts';
import type { Point } from './layout.ts';

/** Where somebody dragged nodes of a lab to, by node key. */
export type Moved = Readonly<Record<string, Point>>;

const Stored = z.strictObject({
  version: z.literal(1),
  nodes: z.record(z.string(), z.strictObject({ x: z.number(), y: z.number() })),
});

const storageKey = (lab: string): string => `tapyard.map.${lab}`;

/** The places kept for a lab; none where nothing was kept, or where what was kept cannot be read. */
export function readMoved(lab: string): Moved {
  try {
    const text = localStorage.getItem(storageKey(lab));
    return text === null ? {} : (Stored.safeParse(JSON.parse(text)).data?.nodes ?? {});
  } catch {
    // Not JSON, or storage is denied: the tidy layout is as good.
    return {};
  }
}

/** Keeps the places of a lab; forgets it when there are none. */
export function writeMoved(lab: string, moved: Moved): void {
  try {
    if (Object.keys(moved).length === 0) localStorage.removeItem(storageKey(lab));
    else localStorage.setItem(storageKey(lab), JSON.stringify({ version: 1, nodes: moved }));
  } catch {
    // A full or forbidden storage costs the places at the next visit, nothing now.
  }
}
