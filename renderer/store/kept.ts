// SPDX-License-Identifier: Apache-2.0
import { z } from '../../electron/contract/zod.ts';

/** A console tab of the dock: one guest's serial line or its screen. */
export const ConsoleTab = z.object({ guest: z.string(), kind: z.enum(['serial', 'screen']) });
export type ConsoleTab = Readonly<z.infer<typeof ConsoleTab>>;

/** The key of a console tab. */
export const consoleKey = (tab: ConsoleTab): string => `${tab.guest}:${tab.kind}`;

/** What this window remembers from one visit to the next, in localStorage. Sizes are CSS pixels. */
export const Kept = z.object({
  theme: z.enum(['system', 'dark', 'light']).default('system'),
  lab: z.string().nullable().default(null),
  inspectorOpen: z.boolean().default(true),
  inspectorWidth: z.number().min(280).max(720).default(344),
  /** The map as a list. */
  mapAsList: z.boolean().default(false),
  dockOpen: z.boolean().default(true),
  dockHeight: z.number().min(120).max(1200).default(236),
  /** The share of the dock's width that the left pane has when it is split. */
  splitAt: z.number().min(0.2).max(0.8).default(0.6),
  split: z.boolean().default(false),
  consoles: z.array(ConsoleTab).max(64).default([]),
  activeConsole: z.string().nullable().default(null),
  screenReaderTerminals: z.boolean().default(false),
});
export type Kept = z.infer<typeof Kept>;

const key = 'tapyard.window';
const keys = Object.keys(Kept.shape);

/** What was kept; what is missing or no longer valid has its default. */
export function readKept(): Kept {
  try {
    const found: unknown = JSON.parse(localStorage.getItem(key) ?? '{}');
    const all = Kept.safeParse(found);
    if (all.success) return all.data;
    // One value that is out of range must not cost the others.
    const bad = new Set(all.error.issues.map((issue) => String(issue.path[0])));
    const rest = Object.entries(Object(found)).filter(([name]) => !bad.has(name));
    return Kept.catch(Kept.parse({})).parse(Object.fromEntries(rest));
  } catch {
    // No storage (a private window), or not JSON.
    return Kept.parse({});
  }
}

/** Keeps the part of `state` that is worth it. */
export function writeKept(state: Kept): void {
  const part = Object.fromEntries(Object.entries(state).filter(([name]) => keys.includes(name)));
  try {
    localStorage.setItem(key, JSON.stringify(part));
  } catch {
    // A full or forbidden storage costs comfort, nothing else.
  }
}
