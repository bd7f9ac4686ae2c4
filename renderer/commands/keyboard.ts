// SPDX-License-Identifier: Apache-2.0
import { useUi } from '../store/ui.ts';
import { allCommands } from './command.ts';
import { runCommand } from './run.ts';
import { isCharacter, matches } from './shortcut.ts';

const isField = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement &&
  (target.isContentEditable || target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement);

/** Whether a dialog is open: behind it nothing may happen by key. */
const dialogOpen = (): boolean => document.querySelector('[role="dialog"], [role="alertdialog"]') !== null;

function onKeyDown(event: KeyboardEvent): void {
  const ui = useUi.getState();
  if (event.defaultPrevented || event.isComposing || ui.focusedConsole !== null) return;
  const command = allCommands().find(({ shortcut }) => shortcut !== undefined && matches(event, shortcut));
  if (!command?.shortcut) return;
  if (isCharacter(command.shortcut) && isField(event.target)) return;
  if (dialogOpen() && !(command.id === 'window.palette' && ui.palette)) return;
  event.preventDefault();
  void runCommand(command.id, command.on === null ? null : ui.selection);
}

/**
 * Runs commands by their shortcuts. A console that has the focus gets every key: its chord to let go is its own
 * affair. Returns what ends it.
 */
export function listenToShortcuts(): () => void {
  window.addEventListener('keydown', onKeyDown);
  return () => window.removeEventListener('keydown', onKeyDown);
}
