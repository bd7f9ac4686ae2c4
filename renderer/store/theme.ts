// SPDX-License-Identifier: Apache-2.0
import { useUi } from './ui.ts';

/** The theme that is drawn. */
export type DrawnTheme = 'dark' | 'light';

const prefersLight = (): MediaQueryList => matchMedia('(prefers-color-scheme: light)');

/** The theme in force: the user's choice, or the system's. */
export function drawnTheme(): DrawnTheme {
  const { theme } = useUi.getState();
  if (theme !== 'system') return theme;
  return prefersLight().matches ? 'light' : 'dark';
}

const listeners = new Set<(theme: DrawnTheme) => void>();

function apply(): void {
  const theme = drawnTheme();
  if (document.documentElement.dataset['theme'] === theme) return;
  document.documentElement.dataset['theme'] = theme;
  for (const listener of listeners) listener(theme);
}

/**
 * Keeps `data-theme` of the document at the theme in force. Listeners of {@link onTheme} are told after the
 * attribute has changed, so colours that they read from computed style are the new ones.
 */
export function applyTheme(): void {
  apply();
  prefersLight().addEventListener('change', apply);
  useUi.subscribe(apply);
}

/** Tells when the drawn theme has changed. Returns what ends it. */
export function onTheme(listener: (theme: DrawnTheme) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** The value of a colour token as a canvas wants it: `token('--accent')`. */
export function token(name: `--${string}`): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
