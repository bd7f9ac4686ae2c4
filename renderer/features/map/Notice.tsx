// SPDX-License-Identifier: Apache-2.0
import { runCommand } from '../../commands/run.ts';
import { useUi } from '../../store/ui.ts';
import type { Topology } from './map-model.ts';

interface Words {
  readonly text: string;
  readonly action: { readonly command: string; readonly label: string };
}

/** What the map has to say about the whole lab, null when it speaks for itself. Pure. */
export function noticeOf(topology: Topology): Words | null {
  const empty = topology.bridges.length === 0 && topology.guests.length === 0;
  if (empty && (topology.state === 'up' || topology.state === 'down'))
    return { text: 'No networks yet.', action: { command: 'network.new', label: 'Add network' } };
  switch (topology.state) {
    case 'down':
      return { text: 'This lab is down.', action: { command: 'lab.up', label: 'Bring it up' } };
    case 'starting':
    case 'stopping':
    case 'failed':
      // The header tells how far it is, the banner what went wrong.
      return null;
    case 'up':
      if (topology.guests.length > 0) return null;
      return { text: 'No guests yet.', action: { command: 'guest.new', label: 'New guest' } };
  }
}

/** The notice at the map's top edge. */
export function Notice({ topology }: { readonly topology: Topology }) {
  const words = noticeOf(topology);
  const pending = useUi((ui) => ui.pending.get('lab.up') ?? ui.pending.get(`lab:${topology.lab}`));
  if (!words) return null;
  return (
    <div className="map-notice" role="status">
      <span>{words.text}</span>
      <button
        type="button"
        className="map-primary"
        aria-busy={pending !== undefined}
        onClick={() => void runCommand(words.action.command, { kind: 'lab', id: topology.lab })}
      >
        {pending?.word ?? words.action.label}
      </button>
    </div>
  );
}
