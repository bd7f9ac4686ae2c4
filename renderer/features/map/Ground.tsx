// SPDX-License-Identifier: Apache-2.0
import { memo, useMemo } from 'react';
import type { Selection } from '../../store/subject.ts';
import { useUi } from '../../store/ui.ts';
import { groupCables } from './cables.ts';
import { overlaps, type Box, type Layout } from './layout.ts';
import { HeldMark } from './HeldMark.tsx';
import { Name } from './nodes.tsx';
import type { Route } from './route.ts';
import type { Cable, Port, Topology } from './map-model.ts';
import type { Cull, Level } from './view.ts';

interface Props {
  readonly topology: Topology;
  readonly layout: Layout;
  readonly routes: ReadonlyMap<string, Route>;
  /** The part of the map to draw. */
  readonly cull: Cull;
  readonly level: Level;
  readonly selection: Selection | null;
  /** The cable under the pointer. */
  readonly hovered: Cable | null;
}

const select = (selection: Selection): void => useUi.getState().select(selection);

const CableLines = memo(({ path, look }: { readonly path: string; readonly look: string }) => (
  <path d={path} className={`map-cable ${look}`} />
));

/** The one cable that takes the pointer: all others are only drawn, and found by their geometry (cables.ts). */
const HoveredCable = memo(({ cable, path }: { readonly cable: Cable; readonly path: string }) => (
  <g className={`map-cable-hovered ${cable.layer}`} onClick={() => select(cable.selection)}>
    <title>{cable.note}</title>
    <path d={path} className={`map-cable ${cable.layer} ${cable.state}`} />
    <path d={path} className="map-cable-hit" />
  </g>
));

interface PortProps {
  readonly port: Port;
  readonly box: Box;
  readonly selected: boolean;
  readonly level: Level;
}

const PortChip = memo(({ port, box, selected, level }: PortProps) => (
  <button
    type="button"
    className={`map-port ${port.state}${port.ours ? '' : ' foreign'}${selected ? ' selected' : ''}`}
    data-level={level}
    data-key={port.key}
    tabIndex={-1}
    title={level === 'card' ? `${port.name}: ${port.note}` : undefined}
    aria-label={`Port ${port.name}, ${port.note}`}
    style={{ left: box.x, top: box.y, width: box.width, height: box.height }}
    onClick={() => select(port.selection)}
  >
    {port.name.length > 8 ? <Name name={port.name} /> : port.name}
  </button>
));

const Frames = memo(({ topology, layout, level }: Pick<Props, 'topology' | 'layout' | 'level'>) =>
  layout.frames.map((frame, at) => (
    <div
      className="map-frame"
      data-level={level}
      key={at}
      style={{ left: frame.x, top: frame.y, width: frame.width, height: frame.height }}
    >
      <span>{at === 0 ? topology.boundary : `${topology.boundary}, continued`}</span>
    </div>
  )),
);

/**
 * What lies under and beside the nodes: boundaries, cables and ports, as far as they are in view. The part of the
 * map comes a frame later than the nodes' (useLaterCull): without memo it would be gone through twice.
 */
export const Ground = memo(({ topology, layout, routes, cull, level, selection, hovered }: Props) => {
  const groups = useMemo(
    () => groupCables(topology.cables, routes, selection),
    [topology.cables, routes, selection],
  );
  const hoveredPath = hovered && routes.get(hovered.key)?.path;
  return (
    <>
      <Frames topology={topology} layout={layout} level={level} />
      <svg className="map-cables" width="1" height="1" aria-hidden="true">
        {groups.map((group) =>
          overlaps(group.bounds, cull.box) ? (
            <CableLines key={group.key} path={group.path} look={group.look} />
          ) : null,
        )}
        {hovered && hoveredPath && <HoveredCable cable={hovered} path={hoveredPath} />}
      </svg>
      {topology.cables.map((cable) => {
        const route = cable.heldTo === null ? undefined : routes.get(cable.key);
        return route && overlaps(route.bounds, cull.box) ? (
          <HeldMark key={cable.key} cable={cable} route={route} />
        ) : null;
      })}
      {topology.bridges.flatMap((bridge) =>
        bridge.ports.map((port) => {
          const box = layout.ports.get(port.key);
          if (!box || !overlaps(box, cull.box)) return null;
          const selected = selection?.kind === 'link' && port.key === `link:${selection.id}`;
          return <PortChip key={port.key} port={port} box={box} level={level} selected={selected} />;
        }),
      )}
    </>
  );
});
