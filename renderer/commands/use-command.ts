// SPDX-License-Identifier: Apache-2.0
import { useSyncExternalStore } from 'react';
import { useCore } from '../store/core.ts';
import { subjectKey, type Subject } from '../store/subject.ts';
import { useTables } from '../store/tables.ts';
import { useUi } from '../store/ui.ts';
import { commandById, type Command, type CommandState } from './command.ts';
import { commandState, runCommand, verdict } from './run.ts';

function subscribe(listener: () => void): () => void {
  const stops = [useTables.subscribe(listener), useUi.subscribe(listener), useCore.subscribe(listener)];
  return () => {
    for (const stop of stops) stop();
  };
}

/** Derives a primitive from tables, window state and connection; renders again only when it differs. */
export function useDerived<Value extends string | number | boolean | null | undefined>(
  derive: (state: CommandState) => Value,
): Value {
  return useSyncExternalStore(subscribe, () => derive(commandState()));
}

/** A command on a subject, as a button or a menu entry shows it. */
export interface CommandView {
  readonly command: Command;
  readonly label: string;
  /** Why it cannot be run now; undefined when it can. */
  readonly unavailable: string | undefined;
  /** "Starting…" while it is under way. */
  readonly pendingWord: string | undefined;
  readonly run: () => void;
}

/** The projection of one command for one subject. */
export function useCommand(id: string, subject: Subject | null): CommandView {
  const command = commandById(id);
  const key = subject ? subjectKey(subject) : command.id;
  const label = useDerived((state) => command.label(state, subject));
  const can = useDerived((state) => verdict(command, state, subject));
  const pendingWord = useDerived((state) => {
    const pending = state.ui.pending.get(key);
    return pending?.command === id ? pending.word : undefined;
  });
  return {
    command,
    label,
    unavailable: can === true ? undefined : can,
    pendingWord,
    run: () => void runCommand(id, subject),
  };
}
