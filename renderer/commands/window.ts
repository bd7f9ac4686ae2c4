// SPDX-License-Identifier: Apache-2.0
import {
  Columns2,
  Keyboard,
  Monitor,
  PanelBottom,
  PanelRight,
  Plus,
  ScrollText,
  Search,
  Settings,
  ShieldCheck,
  SunMoon,
  Workflow,
} from 'lucide-react';
import type { LucideIcon } from 'lucide-react';
import { drawnTheme } from '../store/theme.ts';
import { useUi, type UiState, type View } from '../store/ui.ts';
import { wideQuery } from '../lib/use-media.ts';
import type { Command } from './command.ts';
import { labOf } from './lab.ts';

const always = (): true => true;

const views: readonly { view: View; label: string; icon: LucideIcon; shortcut: string }[] = [
  { view: 'map', label: 'Map', icon: Workflow, shortcut: 'Alt+1' },
  { view: 'guests', label: 'Guests', icon: Monitor, shortcut: 'Alt+2' },
  { view: 'checks', label: 'Checks', icon: ShieldCheck, shortcut: 'Alt+3' },
  { view: 'log', label: 'Log', icon: ScrollText, shortcut: 'Alt+4' },
  { view: 'settings', label: 'Settings', icon: Settings, shortcut: 'Ctrl+,' },
];

const windowCommand = (
  id: string,
  label: string,
  icon: LucideIcon,
  run: (ui: UiState) => void,
  shortcut?: string,
): Command => ({
  id,
  on: null,
  group: 'Window',
  icon,
  label: () => label,
  enabledWhen: always,
  run: ({ ui }) => run(ui),
  ...(shortcut === undefined ? {} : { shortcut }),
});

export const windowCommands: readonly Command[] = [
  {
    id: 'guest.new',
    on: null,
    group: 'Lab',
    icon: Plus,
    shortcut: 'Alt+N',
    label: () => 'New guest',
    needsCore: true,
    enabledWhen: (state) => (labOf(state, null) ? true : 'no lab is open'),
    run: ({ ui }) => ui.openDialog('newGuest', true),
  },
  ...views.map(({ view, label, icon, shortcut }) =>
    windowCommand(`view.${view}`, label, icon, (ui) => ui.show(view), shortcut),
  ),
  windowCommand(
    'window.palette',
    'Search or run a command',
    Search,
    (ui) => ui.openDialog('palette', !ui.palette),
    'Ctrl+K',
  ),
  windowCommand(
    'window.inspector',
    'Show or hide the inspector',
    PanelRight,
    (ui) => {
      if (matchMedia(wideQuery).matches) ui.keep({ inspectorOpen: !ui.inspectorOpen });
      else useUi.setState({ overlayOpen: !ui.overlayOpen });
    },
    'Alt+I',
  ),
  windowCommand(
    'window.dock',
    'Show or hide the consoles',
    PanelBottom,
    (ui) => ui.keep({ dockOpen: !ui.dockOpen }),
    'Alt+C',
  ),
  windowCommand('window.split', 'Split the consoles: serial beside screen', Columns2, (ui) =>
    ui.keep({ split: !ui.split }),
  ),
  windowCommand('window.theme', 'Switch between dark and light', SunMoon, (ui) =>
    ui.keep({ theme: drawnTheme() === 'dark' ? 'light' : 'dark' }),
  ),
  windowCommand(
    'window.shortcuts',
    'Keyboard shortcuts',
    Keyboard,
    (ui) => ui.openDialog('shortcuts', true),
    '?',
  ),
];
