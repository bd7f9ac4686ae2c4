// SPDX-License-Identifier: Apache-2.0

/** The places of docs/on-disk.md. */
export const places = ['runtime', 'data', 'state', 'cache'] as const;
export type Place = (typeof places)[number];

/** A path of the page's tables, as it is written there, and what must be found at it. */
export interface Row {
  readonly place: Place;
  readonly path: string;
  readonly kind: 'file' | 'directory' | 'socket' | 'FIFO';
  /** In octal, as stat(1) prints it. */
  readonly mode: string;
}

/** The files that the page's tables name, netd's own at both of its places. */
export function documentedFiles(page: string): Row[] {
  const rows: Row[] = [];
  let place: Place | undefined;
  let parents = [''];
  let above = '';
  for (const line of page.split('\n')) {
    const heading = /^## (\w+)/.exec(line)?.[1]?.toLowerCase();
    if (heading !== undefined) {
      place = places.find((each) => each === heading);
      parents = [''];
    }
    if (line.startsWith("In netd's directory")) parents = ['labs/LAB/netd/', 'netd-host/'];
    const cell = /^\| ((?:… )?`[^|]*)\|/.exec(line)?.[1];
    if (place === undefined || cell === undefined) continue;
    const names = [...cell.matchAll(/`([^`]+)`(?: \((0\d{3})\))?/g)];
    const first = names[0]?.[1] ?? '';
    if (!cell.startsWith('…')) above = first.slice(0, first.lastIndexOf('/', first.length - 2) + 1);
    for (const [, name = '', mode] of names)
      for (const parent of parents)
        rows.push(row(place, parent + (name.slice(0, -1).includes('/') ? '' : above) + name, mode));
  }
  return rows;
}

function row(place: Place, path: string, mode: string | undefined): Row {
  const kind = path.endsWith('/')
    ? 'directory'
    : path.endsWith('.sock')
      ? 'socket'
      : path.endsWith('.in')
        ? 'FIFO'
        : 'file';
  return { place, path, kind, mode: (mode ?? (kind === 'directory' ? '0700' : '0600')).slice(1) };
}

/** Words in capitals stand for a name. */
const pattern = (path: string): string => path.replaceAll('.', '\\.').replaceAll(/[A-Z]+/g, '[^/]+');

/** Whether a path is one that the row stands for. */
export const isPathOf = ({ path }: Pick<Row, 'path'>, real: string): boolean =>
  new RegExp(`^${pattern(path).replace(/\/$/, '')}$`).test(real);

/** Whether a path is a directory on the way to what the row stands for; that of all is ''. */
export function isParentOf(real: string, { path }: Row): boolean {
  const names = path.split('/').slice(0, -1);
  return names.some((_, at) => isPathOf({ path: names.slice(0, at + 1).join('/') }, real)) || real === '';
}
