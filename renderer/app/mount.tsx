// SPDX-License-Identifier: Apache-2.0
import '../lib/tokens.css';
import '../lib/base.css';
import '../commands/table.ts';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { listenToShortcuts } from '../commands/keyboard.ts';
import { keepConnected, type Dial } from '../store/core.ts';
import { applyTheme } from '../store/theme.ts';
import { App } from './App.tsx';

/** Draws the window into `root` and keeps it connected to the core that `dial` reaches. */
export function mount(root: HTMLElement, dial: Dial): void {
  applyTheme();
  listenToShortcuts();
  void keepConnected(dial);
  createRoot(root).render(
    <StrictMode>
      <App />
    </StrictMode>,
  );
}
