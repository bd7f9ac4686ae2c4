// SPDX-License-Identifier: Apache-2.0
import { useCommand } from '../../commands/use-command.ts';

/** The buttons at the map's edge. */
export function MapControls() {
  return (
    <div className="map-controls">
      <Control command="map.zoomIn" text="+" />
      <Control command="map.zoomOut" text="−" />
      <Control command="map.fit" text="Fit" />
      <Control command="map.tidy" text="Tidy" />
      <Control command="map.list" text="As list" />
    </div>
  );
}

/** A sign or a short word for a command of the table. */
function Control({ command, text }: { readonly command: string; readonly text: string }) {
  const { label, run, command: it } = useCommand(command, null);
  return (
    <button
      type="button"
      className="map-control"
      title={it.shortcut === undefined ? label : `${label} (${it.shortcut})`}
      {...(text.length === 1 ? { 'aria-label': label } : {})}
      onClick={run}
    >
      {text}
    </button>
  );
}
