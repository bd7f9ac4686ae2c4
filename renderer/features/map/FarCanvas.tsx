// SPDX-License-Identifier: Apache-2.0
import { useStoreApi } from '@xyflow/react';
import { useEffect, useRef } from 'react';
import type { Selection } from '../../store/subject.ts';
import { onTheme, token } from '../../store/theme.ts';
import { cableSelected } from './cables.ts';
import { overlaps, type Box, type Layout } from './layout.ts';
import type { Route } from './route.ts';
import { shapeColours, shapePaths } from './StateShape.tsx';
import type { MapNode, Topology } from './map-model.ts';
import { visibleBox } from './view.ts';
import { elideStart, natWord, wayName } from './words.ts';

interface Props {
  readonly topology: Topology;
  readonly layout: Layout;
  readonly routes: ReadonlyMap<string, Route>;
  readonly selection: Selection | null;
}

const tokens = [
  '--surface',
  '--raised',
  '--control',
  '--text',
  '--muted',
  '--accent',
  '--ok',
  '--warn',
  '--bad',
  '--faint',
  '--l2',
  '--l3',
  '--cable',
] as const;
type Token = (typeof tokens)[number];

/** Everything in Path2Ds and lists, made once for a topology: a frame only strokes, fills and writes names. */
interface Scene {
  readonly cables: readonly {
    readonly path: Path2D;
    readonly colour: Token;
    readonly dashed: boolean;
    readonly strong: boolean;
  }[];
  readonly nodes: readonly {
    readonly box: Box;
    readonly edge: Token;
    readonly fill: Token;
    readonly node: MapNode;
    readonly selected: boolean;
  }[];
}

function makeScene({ topology, routes, layout, selection }: Props): Scene {
  const groups = new Map<string, { path: Path2D; colour: Token; dashed: boolean; strong: boolean }>();
  for (const cable of topology.cables) {
    const route = routes.get(cable.key);
    if (!route) continue;
    const strong = cableSelected(cable, selection);
    const up = cable.state === 'up';
    const colour: Token = !up ? '--cable' : strong ? '--ok' : cable.layer === 'l3' ? '--l3' : '--cable';
    const key = `${colour}${up}${strong}`;
    const group = groups.get(key) ?? { path: new Path2D(), colour, dashed: !up, strong };
    group.path.addPath(new Path2D(route.path));
    groups.set(key, group);
  }
  const all: readonly MapNode[] = [
    topology.uplink,
    ...topology.nats,
    ...topology.bridges,
    ...topology.guests,
  ];
  const nodes = all.flatMap((node) => {
    const box = layout.nodes.get(node.key);
    if (!box) return [];
    const selected = selection !== null && node.key === `${selection.kind}:${selection.id}`;
    return [{ box, node, selected, edge: edgeOf(node), fill: '--surface' as const }];
  });
  return { cables: [...groups.values()], nodes };
}

function edgeOf(node: MapNode): Token {
  if (node.kind === 'network') return '--l2';
  return node.kind === 'nat' && node.on === true ? '--l3' : '--control';
}

/** What a node's box says at this distance, from the longest to the shortest. */
function words(node: MapNode): readonly string[] {
  if (node.kind === 'uplink') return ['Internet', 'Net'];
  if (node.kind === 'nat')
    return node.on === null || node.mode !== 'nat'
      ? [wayName[node.mode]]
      : [`NAT ${natWord(node)}`, natWord(node)];
  return [node.name];
}

/** Sizes of text that the far map writes, screen pixels; names that would be smaller are left out. */
const smallestText = 8;

/** All nodes and cables on one canvas, for a map that is too large or too far away for the DOM. */
export function FarCanvas(props: Props) {
  const { topology, layout, routes, selection } = props;
  const ref = useRef<HTMLCanvasElement>(null);
  const flow = useStoreApi();
  useEffect(() => {
    const canvas = ref.current;
    const context = canvas?.getContext('2d');
    if (!canvas || !context) return undefined;
    const scene = makeScene({ topology, layout, routes, selection });
    const shapePath = new Map(Object.entries(shapePaths).map(([shape, path]) => [shape, new Path2D(path)]));
    let colours = readColours();
    let request = 0;

    const draw = (): void => {
      request = 0;
      const { transform, width, height } = flow.getState();
      const [x, y, zoom] = transform;
      const ratio = Math.min(2, devicePixelRatio);
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      const seen = visibleBox({ x, y, zoom, width, height });
      context.setTransform(zoom * ratio, 0, 0, zoom * ratio, x * ratio, y * ratio);
      const pixel = 1 / zoom;

      context.lineWidth = pixel;
      context.setLineDash([4 * pixel, 4 * pixel]);
      context.strokeStyle = colours['--control'];
      for (const frame of layout.frames) context.strokeRect(frame.x, frame.y, frame.width, frame.height);
      for (const cable of scene.cables) {
        context.lineWidth = (cable.strong ? 2 : 1) * pixel;
        context.setLineDash(cable.dashed ? [4 * pixel, 4 * pixel] : []);
        context.strokeStyle = colours[cable.colour];
        // Hundreds of cables side by side would outshine the nodes.
        context.globalAlpha = cable.strong || cable.colour === '--l3' ? 1 : 0.55;
        context.stroke(cable.path);
      }
      context.globalAlpha = 1;
      context.setLineDash([]);
      const visible = scene.nodes.filter((each) => overlaps(each.box, seen));
      context.lineWidth = pixel;
      for (const { box, edge, fill } of visible) {
        context.fillStyle = colours[fill];
        context.strokeStyle = colours[edge];
        context.fillRect(box.x, box.y, box.width, box.height);
        context.strokeRect(box.x, box.y, box.width, box.height);
      }
      drawWords(context, visible, shapePath, colours, zoom);
      for (const { box, selected } of visible) {
        if (!selected) continue;
        context.strokeStyle = colours['--accent'];
        context.lineWidth = 3 * pixel;
        context.strokeRect(box.x - pixel, box.y - pixel, box.width + 2 * pixel, box.height + 2 * pixel);
      }
    };
    const ask = (): void => {
      if (request === 0) request = requestAnimationFrame(draw);
    };
    const stops = [
      flow.subscribe((now, before) => {
        if (now.transform !== before.transform || now.width !== before.width || now.height !== before.height)
          ask();
      }),
      onTheme(() => {
        colours = readColours();
        ask();
      }),
    ];
    draw();
    return () => {
      cancelAnimationFrame(request);
      for (const stop of stops) stop();
    };
  }, [topology, layout, routes, selection, flow]);
  return <canvas ref={ref} className="map-canvas map-far" aria-hidden="true" />;
}

type Colours = Readonly<Record<Token, string>>;

function readColours(): Colours {
  return {
    '--surface': token('--surface'),
    '--raised': token('--raised'),
    '--control': token('--control'),
    '--text': token('--text'),
    '--muted': token('--muted'),
    '--accent': token('--accent'),
    '--ok': token('--ok'),
    '--warn': token('--warn'),
    '--bad': token('--bad'),
    '--faint': token('--faint'),
    '--l2': token('--l2'),
    '--l3': token('--l3'),
    '--cable': token('--cable'),
  };
}

function drawWords(
  context: CanvasRenderingContext2D,
  visible: Scene['nodes'],
  shapePath: ReadonlyMap<string, Path2D>,
  colours: Colours,
  zoom: number,
): void {
  // Names grow on the map as it shrinks on the screen, up to what their boxes hold.
  const size = Math.min(46, 11 / zoom);
  const legible = size * zoom >= smallestText;
  context.font = `600 ${size}px ${token('--font')}`;
  context.textBaseline = 'middle';
  // Close enough for names, and one measurement a frame instead of hundreds.
  const character = context.measureText('node-0123w').width / 10;
  for (const { box, node } of visible) {
    let left = box.x + size * 0.35;
    const middle = box.y + box.height / 2;
    if (node.kind === 'guest') {
      const path = shapePath.get(node.shape);
      const scale = (legible ? size : box.height * 0.6) / 12;
      if (!legible) left = box.x + (box.width - 12 * scale) / 2;
      context.save();
      context.translate(left, middle - 6 * scale);
      context.scale(scale, scale);
      context.fillStyle = colours[shapeColours[node.shape]];
      if (path) context.fill(path, 'evenodd');
      context.restore();
      left += size * 1.3;
    }
    if (!legible) continue;
    context.fillStyle = colours['--text'];
    const fits = Math.floor((box.x + box.width - left - size * 0.2) / character);
    const all = words(node);
    const text = all.find((each) => each.length <= fits) ?? elideStart(all.at(-1) ?? '', fits);
    if (fits >= 2) context.fillText(text, left, middle);
  }
}
