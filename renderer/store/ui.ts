// SPDX-License-Identifier: Apache-2.0
import { create } from 'zustand';
import type { ErrorData } from '../../electron/contract/error.ts';
import { consoleKey, readKept, writeKept, type ConsoleTab, type Kept } from './kept.ts';
import type { Selection } from './subject.ts';

/** The places that the navigation rail leads to. */
export type View = 'map' | 'guests' | 'log' | 'checks' | 'settings';

/** What is asked of the core and not yet observed. */
export interface Pending {
  readonly command: string;
  /** What the button says meanwhile: "Starting…". */
  readonly word: string;
}

/** A failure that the user has not dismissed. */
export interface Failure {
  /** What was tried, for people: "Start web". */
  readonly title: string;
  readonly error: ErrorData;
}

/** A question to answer before something is done. */
export interface Question {
  readonly title: string;
  readonly text: string;
  readonly action: string;
  readonly act: () => void;
}

/** The state of this window that is not the core's. */
export interface UiState extends Kept {
  view: View;
  selection: Selection | null;
  /** Whether the inspector is open where there is no room for it at all times: it opens with a selection. */
  overlayOpen: boolean;
  palette: boolean;
  shortcuts: boolean;
  newGuest: boolean;
  /** The form of a network is open: of a new one, or of the one with this id. */
  networkForm: { readonly network: string | null } | null;
  confirm: Question | null;
  /** By {@link subjectKey}. */
  pending: ReadonlyMap<string, Pending>;
  /** By {@link subjectKey}, or by the command's id where it has no subject. */
  failures: ReadonlyMap<string, Failure>;
  /** Jobs whose failure was dismissed. */
  dismissedJobs: ReadonlySet<string>;
  /** Key of the console that has the keyboard, else null. */
  focusedConsole: string | null;
  /** The newest sentence for the live region. */
  announcement: string;

  readonly show: (view: View) => void;
  readonly chooseLab: (lab: string | null) => void;
  /** Selects a thing (and shows its inspector), or nothing. */
  readonly select: (selection: Selection | null) => void;
  /** Sets kept values: sizes, theme, what is open. */
  readonly keep: (part: Partial<Kept>) => void;
  readonly openDialog: (name: 'palette' | 'shortcuts' | 'newGuest', open: boolean) => void;
  readonly openConsole: (tab: ConsoleTab) => void;
  readonly closeConsole: (key: string) => void;
  readonly setPending: (key: string, pending: Pending | null) => void;
  readonly setFailure: (key: string, failure: Failure | null) => void;
  readonly dismissJob: (id: string) => void;
  readonly setFocusedConsole: (key: string | null) => void;
  readonly announce: (text: string) => void;
}

/** Tabs that are kept: those of guests that are gone for ever would pile up. */
const longestDock = 32;

function mapWith<V>(map: ReadonlyMap<string, V>, key: string, value: V | null): ReadonlyMap<string, V> {
  const next = new Map(map);
  if (value === null) next.delete(key);
  else next.set(key, value);
  return next;
}

/** This window's own state. */
export const useUi = create<UiState>((set) => ({
  ...readKept(),
  view: 'map',
  selection: null,
  overlayOpen: false,
  palette: false,
  shortcuts: false,
  newGuest: false,
  networkForm: null,
  confirm: null,
  pending: new Map(),
  failures: new Map(),
  dismissedJobs: new Set(),
  focusedConsole: null,
  announcement: '',

  show: (view) => set({ view }),
  chooseLab: (lab) => set((state) => (state.lab === lab ? state : { lab, selection: null })),
  select: (selection) =>
    set((state) => {
      if (selection === null && state.selection === null) return state;
      return selection === null
        ? { selection, overlayOpen: false }
        : { selection, inspectorOpen: true, overlayOpen: true };
    }),
  keep: (part) => set(part),
  openDialog: (name, open) => set({ [name]: open }),
  openConsole: (tab) =>
    set((state) => ({
      dockOpen: true,
      activeConsole: consoleKey(tab),
      consoles: state.consoles.some((other) => consoleKey(other) === consoleKey(tab))
        ? state.consoles
        : [...state.consoles, tab].slice(-longestDock),
    })),
  closeConsole: (key) =>
    set((state) => {
      const at = state.consoles.findIndex((tab) => consoleKey(tab) === key);
      if (at < 0) return state;
      const consoles = state.consoles.filter((_, index) => index !== at);
      if (state.activeConsole !== key) return { consoles };
      const next = consoles[Math.min(at, consoles.length - 1)];
      return { consoles, activeConsole: next ? consoleKey(next) : null };
    }),
  setPending: (key, pending) => set((state) => ({ pending: mapWith(state.pending, key, pending) })),
  setFailure: (key, failure) => set((state) => ({ failures: mapWith(state.failures, key, failure) })),
  dismissJob: (id) => set((state) => ({ dismissedJobs: new Set([...state.dismissedJobs, id]) })),
  setFocusedConsole: (focusedConsole) => set({ focusedConsole }),
  announce: (announcement) => set({ announcement }),
}));

let writing: ReturnType<typeof setTimeout> | undefined;
useUi.subscribe((state) => {
  // Dragging a splitter changes a size every frame; the disk hears of it once.
  clearTimeout(writing);
  writing = setTimeout(() => writeKept(state), 250);
});
