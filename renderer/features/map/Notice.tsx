// SPDX-License-Identifier: Apache-2.0
import { runCommand } from '../../commands/run.ts';
import { useUi } from '../../store/ui.ts';
import type { Topology } from './map-model.ts';

interface Words {
  readonly text: string;
  readonly detail: string | null;
  readonly bad?: boolean;
  readonly action: { readonly command: string; readonly label: string } | null;
}

/** What the map has to say about the whole lab, null when it speaks for itself. Pure. */
export function noticeOf(topology: Topology): Words | null {
  const up = { command: 'lab.up', label: 'Bring it up' };
  switch (topology.state) {
    case 'down':
      return { text: 'This lab is down.', detail: null, action: up };
    case 'starting':
      return { text: 'The lab is starting…', detail: null, action: null };
    case 'stopping':
      return { text: 'The lab is stopping…', detail: null, action: null };
    case 'failed':
      return {
        text: topology.error?.message ?? 'The lab did not come up.',
        detail: topology.error?.hint ?? null,
        bad: true,
        action: { ...up, label: 'Try again' },
      };
    case 'up':
      if (topology.error) {
        return { text: topology.error.message, detail: topology.error.hint ?? null, bad: true, action: up };
      }
      if (topology.guests.length > 0) return null;
      return { text: 'No guests yet.', detail: null, action: { command: 'guest.new', label: 'New guest' } };
  }
}

/** The notice at the map's top edge. */
export function Notice({ topology }: { readonly topology: Topology }) {
  const words = noticeOf(topology);
  const pending = useUi((ui) => ui.pending.get('lab.up') ?? ui.pending.get(`lab:${topology.lab}`));
  if (!words) return null;
  return (
    <div className={`map-notice${words.bad ? ' bad' : ''}`} role="status">
      <span>
        {words.text}
        {words.detail !== null && <small>{words.detail}</small>}
      </span>
      {words.action && (
        <button
          type="button"
          className="map-primary"
          aria-busy={pending !== undefined}
          onClick={() =>
            words.action && void runCommand(words.action.command, { kind: 'lab', id: topology.lab })
          }
        >
          {pending?.word ?? words.action.label}
        </button>
      )}
    </div>
  );
}
