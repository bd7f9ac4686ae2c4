// SPDX-License-Identifier: Apache-2.0

/** What of a keyboard event a shortcut looks at. */
export interface KeyPress {
  readonly key: string;
  readonly ctrlKey: boolean;
  readonly altKey: boolean;
  readonly shiftKey: boolean;
  readonly metaKey: boolean;
}

/** Whether a key press is a shortcut such as `Ctrl+K`, `Alt+Enter` or `?`. */
export function matches(press: KeyPress, shortcut: string): boolean {
  const parts = shortcut.split('+');
  const key = parts.pop() ?? '';
  const wants = (name: string): boolean => parts.includes(name);
  if (press.metaKey || press.ctrlKey !== wants('Ctrl') || press.altKey !== wants('Alt')) return false;
  // A character such as `?` needs Shift on one keyboard and not on another.
  const letter = /^[a-z0-9]$/i.test(key) || key.length > 1;
  if (letter && press.shiftKey !== wants('Shift')) return false;
  return press.key.toLowerCase() === key.toLowerCase();
}

/** Whether it is a plain character, which belongs to a text field that has the focus. */
export function isCharacter(shortcut: string): boolean {
  return !/^(Ctrl|Alt)\+/.test(shortcut);
}
