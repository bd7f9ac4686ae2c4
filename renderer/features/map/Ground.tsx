// SPDX-License-Identifier: Apache-2.0
import { memo } from 'react';
import { sameSubject, type Selection } from '../../store/subject.ts';
import { useUi } from '../../store/ui.ts';
import type { Box, Layout } from './layout.ts';
import { Name } from './nodes.tsx';
import type { Route } from './route.ts';
import type { Cable, Port, Topology } from './topology.ts';
import { keeps, type Cull, type Level } from './view.ts';

interface Props {
  readonly topology: Topology;
  readonly layout: Layout;
  readonly routes: ReadonlyMap<string, Route>;
  /** The part of the map to draw. */
  readonly cull: Cull;
  readonly level: Level;
  readonly selection: Selection | null;
}

/** Whether a cable belongs to what is selected: the cable itself, or one that hangs on it. */
export function cableSelected(cable: Cable, selection: Selection | null): boolean {
  if (!selection) return false;
  if (sameSubject(cable.selection, selection)) return true;
  const key = `${selection.kind}:${selection.id}`;
  return selection.kind === 'guest' && cable.to.node === key;
}

const select = (selection: Selection): void => useUi.getState().select(selection);

const CableLine = memo(({ cable, path, selected }: { cable: Cable; path: string; selected: boolean }) => (
  <g className={`map-cable ${cable.layer} ${cable.state}${selected ? ' selected' : ''}`}>
    <path d={path} className="map-cable-hit" onClick={() => select(cable.selection)}>
      {cable.state !== 'up' && <title>{cable.note}</title>}
    </path>
    <path d={path} className="map-cable-line" />
  </g>
));

const PortChip = memo(
  ({ port, box, selected, level }: { port: Port; box: Box; selected: boolean; level: Level }) => (
    <button
      type="button"
      className={`map-port ${port.state}${port.ours ? '' : ' foreign'}${selected ? ' selected' : ''}`}
      data-level={level}
      data-key={port.key}
      tabIndex={-1}
      title={`${port.name}: ${port.note}`}
      aria-label={`Port ${port.name}, ${port.note}`}
      style={{ left: box.x, top: box.y, width: box.width, height: box.height }}
      onClick={() => select(port.selection)}
    >
      <Name name={port.name} />
    </button>
  ),
);

/** What lies under and beside the nodes: boundaries, cables and ports, as far as they are in view. */
export function Ground({ topology, layout, routes, cull, level, selection }: Props) {
  return (
    <>
      {layout.frames.map((frame, at) => (
        <div
          className="map-frame"
          data-level={level}
          key={at}
          style={{
            left: frame.x,
            top: frame.y,
            width: frame.width,
            height: frame.height,
          }}
        >
          <span>{at === 0 ? topology.boundary : `${topology.boundary}, continued`}</span>
        </div>
      ))}
      <svg className="map-cables" width="1" height="1" aria-hidden="true">
        {topology.cables.map((cable) => {
          const route = routes.get(cable.key);
          if (!route || !keeps(cull, cable.key, route.bounds)) return null;
          return (
            <CableLine
              key={cable.key}
              cable={cable}
              path={route.path}
              selected={cableSelected(cable, selection)}
            />
          );
        })}
      </svg>
      {topology.bridges.flatMap((bridge) =>
        bridge.ports.map((port) => {
          const box = layout.ports.get(port.key);
          if (!box || !keeps(cull, port.key, box)) return null;
          return (
            <PortChip
              key={port.key}
              port={port}
              box={box}
              level={level}
              selected={selection?.kind === 'link' && port.key === `link:${selection.id}`}
            />
          );
        }),
      )}
    </>
  );
}
