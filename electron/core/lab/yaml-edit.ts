// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from 'node:util';
import {
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  stringify,
  type Document,
  type Pair,
  type YAMLMap,
} from 'yaml';

/*
 * Edits of a YAML text. Each changes the few characters that it must, so that comments, quotes and layout
 * stay; then the result is parsed and compared with what was meant. Where they differ (a layout that the edit
 * does not know: aliases, a map that is laid out in an unusual way), yaml's own writer does it, which keeps
 * comments but may change white space. The text given must be a lab file without problems.
 */

/** Where something is in the document. */
type Path = readonly (string | number)[];

/** Adds an entry behind the last one of a group at the document's top. `lines` writes it with an indent. */
export function withEntry(
  text: string,
  group: string,
  name: string,
  value: unknown,
  lines: (indent: string) => string,
): string {
  return edited(text, [group, name], value, (document) => {
    const map = mapAt(document, [group]);
    const last = map?.items.at(-1);
    if (map && last && !map.flow) {
      const end = rangeOf(last.value)?.[1];
      if (end === undefined) return undefined;
      const at = lineEnd(text, text.slice(0, end).trimEnd().length);
      return insert(text, at, `\n${lines(indentOf(text, last))}`);
    }
    if (map?.items.length === 0 && map.range)
      return `${text.slice(0, map.range[0]).trimEnd()}\n${lines('  ')}${text.slice(map.range[1])}`;
    if (map || !isMap(document.contents) || document.contents.flow) return undefined;
    return `${text.trimEnd()}\n${group}:\n${lines('  ')}\n`;
  });
}

/** Takes an entry of a group out. A comment above it stays: nobody knows whether it meant this one alone. */
export function withoutEntry(text: string, group: string, name: string): string {
  return edited(text, [group, name], undefined, (document) => {
    const map = mapAt(document, [group]);
    const pair = map && pairOf(map, name);
    return map && pair && !map.flow ? withoutLines(text, map, pair) : undefined;
  });
}

/** Sets a key of the map at `path`, or takes it out where `value` is undefined. Nothing else of the map changes. */
export function withKey(text: string, path: Path, key: string, value: unknown): string {
  return edited(text, [...path, key], value, (document) => {
    const map = mapAt(document, path);
    const pair = map && pairOf(map, key);
    if (!map) return undefined;
    if (value === undefined) {
      if (!pair) return text;
      return map.flow ? withoutFlowPair(text, map, pair) : withoutLines(text, map, pair);
    }
    if (pair) {
      const old = pair.value;
      const inOneLine = isScalar(old) || ((isMap(old) || isSeq(old)) && old.flow === true);
      return inOneLine ? splice(text, old.range, flow(value)) : undefined;
    }
    const last = map.items.at(-1);
    const end = rangeOf(last?.value)?.[1];
    if (!last || end === undefined) return undefined;
    if (map.flow) return insert(text, end, `, ${key}: ${flow(value)}`);
    const at = lineEnd(text, text.slice(0, end).trimEnd().length);
    return insert(text, at, `\n${indentOf(text, last)}${key}: ${flow(value)}`);
  });
}

/** Adds an item behind the last one of the list at `path`, which has one. */
export function withItem(text: string, path: Path, value: unknown): string {
  const list = parse(text).getIn(path, true);
  const items = isSeq(list) ? list.items : [];
  return edited(text, [...path, items.length], value, () => {
    const [from, to] = rangeOf(items.at(-1)) ?? [];
    if (!isSeq(list) || from === undefined || to === undefined) return undefined;
    if (list.flow) return insert(text, to, `, ${flow(value)}`);
    const dash = text.slice(text.lastIndexOf('\n', from - 1) + 1, from);
    return /^ *- +$/.test(dash)
      ? insert(text, lineEnd(text, text.slice(0, to).trimEnd().length), `\n${dash}${flow(value)}`)
      : undefined;
  });
}

/** Takes an item out of the list at `path`, which keeps another. */
export function withoutItem(text: string, path: Path, index: number): string {
  return edited(text, [...path, index], undefined, (document) => {
    const list = document.getIn(path, true);
    if (!isSeq(list) || !list.flow) return undefined;
    const [before, item, after] = [index - 1, index, index + 1].map((at) => rangeOf(list.items[at]));
    const from = before ? before[1] : item?.[0];
    const to = before ? item?.[1] : after?.[0];
    return from === undefined || to === undefined ? undefined : text.slice(0, from) + text.slice(to);
  });
}

/** The map at `path` as plain values. */
export function entriesAt(text: string, path: Path): Map<string, unknown> {
  const document = parse(text);
  const node = document.getIn(path, true);
  const plain: unknown = isMap(node) ? node.toJS(document) : {};
  return new Map(Object.entries(plain ?? {}));
}

/** A block map without the lines of one pair; undefined where it is the only one. */
function withoutLines(text: string, map: YAMLMap, pair: Pair): string | undefined {
  const start = rangeOf(pair.key)?.[0];
  const end = rangeOf(pair.value)?.[1];
  if (map.items.length < 2 || start === undefined || end === undefined) return undefined;
  const lineStart = text.lastIndexOf('\n', start - 1) + 1;
  const after = lineEnd(text, text.slice(0, end).trimEnd().length) + 1;
  return text.slice(0, lineStart) + text.slice(after);
}

/** A flow map without one pair and the comma that it needs no more. */
function withoutFlowPair(text: string, map: YAMLMap, pair: Pair): string | undefined {
  const at = map.items.indexOf(pair);
  const [before, after] = [map.items[at - 1], map.items[at + 1]];
  const from = before ? rangeOf(before.value)?.[1] : rangeOf(pair.key)?.[0];
  const to = before ? rangeOf(pair.value)?.[1] : rangeOf(after?.key)?.[0];
  return from === undefined || to === undefined ? undefined : text.slice(0, from) + text.slice(to);
}

/** In flow style on one line, as people write it: `[{ network: br0 }]`. yaml's writer puts spaces into brackets, too. */
export function flow(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(flow).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return flowScalar(value);
  const pairs = Object.entries(value).filter(([, inner]) => inner !== undefined);
  const inside = pairs.map(([key, inner]) => `${flowScalar(key)}: ${flow(inner)}`).join(', ');
  return inside === '' ? '{}' : `{ ${inside} }`;
}

/** Quoted where it must be within brackets. */
function flowScalar(value: unknown): string {
  const document = parse(stringify([value]));
  if (isSeq(document.contents)) document.contents.flow = true;
  return document.toString({ lineWidth: 0 }).trim().slice(1, -1).trim();
}

/** Tries the small change, checks it, and falls back to yaml's writer. */
function edited(
  text: string,
  path: Path,
  value: unknown,
  change: (document: Document) => string | undefined,
): string {
  const document = parse(text);
  const small = change(document);
  if (value === undefined) document.deleteIn(path);
  else document.setIn(path, document.createNode(value));
  if (small !== undefined) {
    const result = parse(small);
    if (result.errors.length === 0 && isDeepStrictEqual(result.toJS(), document.toJS())) return small;
  }
  return document.toString({ lineWidth: 0 });
}

export const parse = (text: string): Document =>
  parseDocument(text, { lineCounter: new LineCounter(), prettyErrors: false, logLevel: 'error' });

function mapAt(document: Document, path: Path): YAMLMap | undefined {
  const node = document.getIn(path, true);
  return isMap(node) ? node : undefined;
}

function pairOf(map: YAMLMap, key: string): Pair | undefined {
  return map.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === key);
}

function rangeOf(node: unknown): readonly number[] | undefined {
  return isMap(node) || isSeq(node) || isScalar(node) ? (node.range ?? undefined) : undefined;
}

function splice(text: string, range: readonly number[] | null | undefined, by: string): string | undefined {
  const [start, end] = range ?? [];
  if (start === undefined || end === undefined) return undefined;
  return text.slice(0, start) + by + text.slice(end);
}

const insert = (text: string, at: number, what: string): string => text.slice(0, at) + what + text.slice(at);

function lineEnd(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end === -1 ? text.length : end;
}

/** The white space before a pair's key in its line. */
function indentOf(text: string, pair: Pair): string {
  const start = rangeOf(pair.key)?.[0] ?? 0;
  return text.slice(text.lastIndexOf('\n', start - 1) + 1, start);
}
