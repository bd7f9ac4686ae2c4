// SPDX-License-Identifier: Apache-2.0
import { LayoutGrid, List, Maximize, ZoomIn, ZoomOut } from 'lucide-react';
import type { LucideIcon } from 'lucide-react';
import type { Command, CommandState } from './command.ts';
import { labOf } from './lab.ts';
import type { Verdict } from './rules.ts';

/** What a map that is drawn can be asked to do. */
export interface MapActions {
  /** Shows the whole lab. */
  readonly fit: () => void;
  /** Puts every node back in its place. */
  readonly tidy: () => void;
  readonly zoomBy: (factor: number) => void;
}

let drawn: MapActions | null = null;

/** The map offers its actions for as long as it is drawn. Returns what ends it. */
export function offerMap(actions: MapActions): () => void {
  drawn = actions;
  return () => {
    if (drawn === actions) drawn = null;
  };
}

const open = (state: CommandState): Verdict => (labOf(state, null) ? true : 'no lab is open');

function onMap(state: CommandState): Verdict {
  const can = open(state);
  if (can !== true) return can;
  return state.ui.view === 'map' && !state.ui.mapAsList ? true : 'show the map first';
}

const mapCommand = (
  id: string,
  label: string,
  icon: LucideIcon,
  act: (map: MapActions) => void,
  shortcut?: string,
): Command => ({
  id,
  on: null,
  group: 'Map',
  icon,
  label: () => label,
  enabledWhen: onMap,
  run: () => {
    if (drawn) act(drawn);
  },
  ...(shortcut === undefined ? {} : { shortcut }),
});

export const mapCommands: readonly Command[] = [
  mapCommand('map.fit', 'Show the whole lab', Maximize, (map) => map.fit(), 'Alt+0'),
  mapCommand('map.tidy', 'Put every node back in its place', LayoutGrid, (map) => map.tidy(), 'Alt+T'),
  mapCommand('map.zoomIn', 'Zoom in', ZoomIn, (map) => map.zoomBy(1.25)),
  mapCommand('map.zoomOut', 'Zoom out', ZoomOut, (map) => map.zoomBy(0.8)),
  {
    id: 'map.list',
    on: null,
    group: 'Map',
    icon: List,
    shortcut: 'Alt+L',
    label: ({ ui }) => (ui.mapAsList ? 'Show the list as a map' : 'Show the map as a list'),
    enabledWhen: open,
    run: ({ ui }) => {
      ui.keep({ mapAsList: !ui.mapAsList });
      ui.show('map');
    },
  },
];
