// SPDX-License-Identifier: Apache-2.0
import type { LucideIcon } from 'lucide-react';
import type { Client } from '../../electron/contract/client.ts';
import type { Subject } from '../store/subject.ts';
import type { Tables } from '../store/tables.ts';
import type { UiState } from '../store/ui.ts';
import type { Verdict } from './rules.ts';

/** What a command may look at to decide: never more than this, so that every decision can be tested. */
export interface CommandState {
  readonly tables: Tables;
  readonly ui: UiState;
  /** Whether the tables are those of a live core. */
  readonly connected: boolean;
}

/** What a command may act through. */
export interface CommandContext extends CommandState {
  readonly client: Client;
}

/** What is asked before a command that cannot be taken back. */
export interface Confirmation {
  readonly title: string;
  /** Paragraphs, with an empty line between them. */
  readonly text: string;
  /** The button's word. */
  readonly action: string;
}

/**
 * One command. Toolbar, menus, the palette, the shortcuts sheet and the keyboard are projections of the table
 * of these objects.
 */
export interface Command {
  readonly id: string;
  /** Kinds of subject that it works on; `null` when it needs none. */
  readonly on: readonly Subject['kind'][] | null;
  /** Where the shortcuts sheet and the palette put it. */
  readonly group: 'Lab' | 'Guest' | 'Network' | 'Map' | 'Window';
  label(state: CommandState, subject: Subject | null): string;
  readonly icon: LucideIcon;
  /** Such as `Ctrl+K`, `Alt+Enter`, `?`. */
  readonly shortcut?: string;
  enabledWhen(state: CommandState, subject: Subject | null): Verdict;
  confirm?(state: CommandState, subject: Subject | null): Confirmation | null;
  run(context: CommandContext, subject: Subject | null): Promise<void> | void;
  /** Whether it needs a core where it has no {@link pendingWord}: a form that asks it, a script that it writes. */
  readonly needsCore?: boolean;
  /** What a button says until {@link reached}: "Starting…". Only commands that ask the core for something have one. */
  readonly pendingWord?: string;
  /** Whether what was asked for is observed. A button shows `pendingWord` until then, 20 s at most. */
  reached?(state: CommandState, subject: Subject | null): boolean;
}

const table = new Map<string, Command>();

/** Puts commands into the table. A feature adds its own when it is loaded; an id that is there is replaced. */
export function addCommands(commands: readonly Command[]): void {
  for (const command of commands) table.set(command.id, command);
}

/** The command with this id; a wrong id is a mistake in the program. */
export function commandById(id: string): Command {
  const command = table.get(id);
  if (!command) throw new Error(`there is no command ${id}`);
  return command;
}

/** All commands in the order in which they were added. */
export function allCommands(): readonly Command[] {
  return [...table.values()];
}
