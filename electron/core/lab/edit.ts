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
import type { ForwardDefinition, GuestDefinition } from '../../contract/lab-file.ts';
import type { z } from '../../contract/zod.ts';

/** A guest as a caller writes it: what has a default may be missing. */
export type NewGuest = z.input<typeof GuestDefinition>;

/*
 * Edits of a lab file's text. Each changes the few characters that it must, so that comments, quotes and
 * layout stay; then the result is parsed and compared with what was meant. Where they differ (a layout that
 * the edit does not know: aliases, a non-empty flow map), yaml's own writer does it, which keeps comments
 * but may change white space. The text given must be a lab file without problems.
 */

/** Turns a network's NAT on or off. */
export function withNat(text: string, network: string, nat: boolean): string {
  return edited(text, ['networks', network, 'nat'], nat, (document) => {
    const map = mapAt(document, ['networks', network]);
    const pair = map && pairOf(map, 'nat');
    if (!map) return undefined;
    if (pair) return isScalar(pair.value) ? splice(text, pair.value.range, String(nat)) : undefined;
    if (nat) return text; // the default
    const subnet = pairOf(map, 'subnet');
    if (!subnet || !isScalar(subnet.value) || !subnet.value.range) return undefined;
    if (map.flow) return insert(text, subnet.value.range[1], `, nat: ${nat}`);
    return insert(text, lineEnd(text, subnet.value.range[1]), `\n${indentOf(text, subnet)}nat: ${nat}`);
  });
}

/** Adds a guest behind the last one. */
export function withGuest(text: string, name: string, guest: NewGuest): string {
  return edited(text, ['guests', name], guest, (document) => {
    const guests = mapAt(document, ['guests']);
    const last = guests?.items.at(-1);
    if (guests && last && !guests.flow) {
      const end = rangeOf(last.value)?.[1];
      if (end === undefined) return undefined;
      const at = lineEnd(text, text.slice(0, end).trimEnd().length);
      return insert(text, at, `\n${block(name, guest, indentOf(text, last))}`);
    }
    if (guests?.items.length === 0 && guests.range) {
      const lines = `\n${block(name, guest, '  ')}`;
      return `${text.slice(0, guests.range[0]).trimEnd()}${lines}${text.slice(guests.range[1])}`;
    }
    if (guests || !isMap(document.contents) || document.contents.flow) return undefined;
    return `${text.trimEnd()}\nguests:\n${block(name, guest, '  ')}\n`;
  });
}

/** Takes a guest out. A comment above it stays: nobody knows whether it meant this guest alone. */
export function withoutGuest(text: string, name: string): string {
  return edited(text, ['guests', name], undefined, (document) => {
    const guests = mapAt(document, ['guests']);
    const pair = guests && pairOf(guests, name);
    const start = rangeOf(pair?.key)?.[0];
    const end = rangeOf(pair?.value)?.[1];
    if (!guests || guests.flow || guests.items.length < 2 || start === undefined || end === undefined)
      return undefined;
    const lineStart = text.lastIndexOf('\n', start - 1) + 1;
    const after = lineEnd(text, text.slice(0, end).trimEnd().length) + 1;
    return text.slice(0, lineStart) + text.slice(after);
  });
}

/** A forward as a caller writes it. */
export type NewForward = z.input<typeof ForwardDefinition>;

/** Makes these the forwards of a guest. What is as without being said stays unsaid. */
export function withForwards(text: string, guest: string, forwards: readonly NewForward[]): string {
  const short = forwards.map(({ address, port, to }) => ({
    port,
    ...(to === undefined || to === port ? {} : { to }),
    ...(address === undefined || address === '127.0.0.1' ? {} : { address }),
  }));
  return edited(text, ['guests', guest, 'forwards'], short.length === 0 ? undefined : short, (document) => {
    const map = mapAt(document, ['guests', guest]);
    if (!map || map.flow || short.length === 0) return undefined;
    const pair = pairOf(map, 'forwards');
    if (pair)
      return isSeq(pair.value) && pair.value.flow ? splice(text, pair.value.range, flow(short)) : undefined;
    const last = map.items.at(-1);
    const end = isSeq(last?.value) ? last.value.range?.[1] : rangeOf(last?.value)?.[1];
    if (!last || end === undefined) return undefined;
    const at = lineEnd(text, text.slice(0, end).trimEnd().length);
    return insert(text, at, `\n${indentOf(text, last)}forwards: ${flow(short)}`);
  });
}

/** In flow style on one line, as people write it. */
function flow(value: unknown): string {
  const document = parse(stringify(value));
  if (isSeq(document.contents)) document.contents.flow = true;
  return document.toString({ lineWidth: 0 }).trimEnd();
}

/** Tries the small change, checks it, and falls back to yaml's writer. */
function edited(
  text: string,
  path: readonly string[],
  value: unknown,
  change: (document: Document) => string | undefined,
): string {
  const document = parse(text);
  const small = change(document);
  if (value === undefined) document.deleteIn(path);
  else document.setIn(path, document.createNode(value));
  if (small !== undefined) {
    const result = parse(small);
    if (result.errors.length === 0 && same(result.toJS(), document.toJS(), path, value)) return small;
  }
  return document.toString({ lineWidth: 0 });
}

/** Whether the small change says what was meant; an absent `nat` means true. */
function same(result: unknown, meant: unknown, path: readonly string[], value: unknown): boolean {
  if (isDeepStrictEqual(result, meant)) return true;
  const defaulted = path.at(-1) === 'nat' && value === true;
  if (!defaulted || typeof meant !== 'object') return false;
  const without = parse(stringify(meant));
  without.deleteIn(path);
  return isDeepStrictEqual(result, without.toJS());
}

const parse = (text: string): Document =>
  parseDocument(text, { lineCounter: new LineCounter(), prettyErrors: false, logLevel: 'error' });

function mapAt(document: Document, path: readonly string[]): YAMLMap | undefined {
  const node = document.getIn(path, true);
  return isMap(node) ? node : undefined;
}

function pairOf(map: YAMLMap, key: string): Pair | undefined {
  return map.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === key);
}

function rangeOf(node: unknown): readonly number[] | undefined {
  return isMap(node) || isScalar(node) ? (node.range ?? undefined) : undefined;
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

/** A guest as block YAML with its NICs in flow style, as people write them. */
function block(name: string, guest: NewGuest, indent: string): string {
  const document = parse(stringify({ [name]: guest }));
  const nics = document.getIn([name, 'nics'], true);
  if (isSeq(nics)) nics.flow = true;
  const lines = document.toString({ lineWidth: 0 }).trimEnd().split('\n');
  return lines.map((line) => indent + line).join('\n');
}
