// SPDX-License-Identifier: Apache-2.0
import type { Document, LineCounter, Node } from 'yaml';
import { isAlias, isMap, isNode, isScalar, isSeq, visit } from 'yaml';

/** A path into the document, as zod tells it. */
export type Path = readonly PropertyKey[];

/** Where a problem is, and what is said about it. `at: 'key'` points at the key instead of the value. */
export interface Finding {
  readonly path: Path;
  readonly at: 'key' | 'value';
  readonly message: string;
  readonly expected?: string;
}

/** `guests.web.nics.0.address`; an unprintable or very long part is shortened, for it is shown to people. */
export function formatPath(path: Path): string {
  return path.map((part) => shown(String(part), 40)).join('.');
}

/** Text of the file as it can be shown in a message: control characters escaped, at most `limit` characters. */
export function shown(text: string, limit = 60): string {
  // oxlint-disable-next-line no-control-regex -- these are exactly what must not reach a terminal
  const safe = text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (c) => JSON.stringify(c).slice(1, -1));
  return safe.length > limit ? `${safe.slice(0, limit - 1)}…` : safe;
}

/** Finds lines and columns, counted from 1, of places in a YAML document. */
export class Positions {
  readonly #document: Document;
  readonly #lines: LineCounter;

  constructor(document: Document, lines: LineCounter) {
    this.#document = document;
    this.#lines = lines;
  }

  /** The position of what stands at `path`, or of the nearest thing around it that exists. */
  of(path: Path, at: 'key' | 'value'): { line: number; column: number } {
    let node: unknown = this.#document.contents;
    let offset = startOf(node) ?? 0;
    for (const [depth, part] of path.entries()) {
      if (isAlias(node)) node = node.resolve(this.#document);
      if (isMap(node)) {
        const pair = node.items.find((item) => keyText(item.key) === String(part));
        if (!pair) break;
        const wantsKey = at === 'key' && depth === path.length - 1;
        const key = startOf(pair.key);
        const value = startOf(pair.value);
        // An empty value ("memory:") has its node at the end of the line; the key is the better place.
        offset = (wantsKey || isEmpty(pair.value) ? key : (value ?? key)) ?? offset;
        node = pair.value;
      } else if (isSeq(node)) {
        node = node.items[Number(part)];
        offset = startOf(node) ?? offset;
      } else break;
    }
    return this.at(offset);
  }

  /** The position of a character offset. */
  at(offset: number): { line: number; column: number } {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }

  /** Keys that stand twice in one map: a second guest of the same name would silently replace the first. */
  duplicateKeys(): { path: Path; offset: number; first: number }[] {
    const found: { path: Path; offset: number; first: number }[] = [];
    const walk = (node: unknown, path: Path): void => {
      if (isSeq(node)) for (const [index, item] of node.items.entries()) walk(item, [...path, index]);
      if (!isMap(node)) return;
      const seen = new Map<string, number>();
      for (const pair of node.items) {
        const key = keyText(pair.key);
        const here = startOf(pair.key) ?? 0;
        const first = seen.get(key);
        if (first === undefined) seen.set(key, here);
        else found.push({ path: [...path, key], offset: here, first });
        walk(pair.value, [...path, key]);
      }
    };
    walk(this.#document.contents, []);
    return found;
  }

  /** The offset of the first alias (`*name`), 0 where there is none. */
  firstAlias(): number {
    let offset = 0;
    visit(this.#document, {
      Alias(_key, node) {
        offset = startOf(node) ?? 0;
        return visit.BREAK;
      },
    });
    return offset;
  }
}

/** A key as the text that it has in the plain object. */
function keyText(key: unknown): string {
  return isScalar(key) ? String(key.value) : isNode(key) ? String(key) : String(key);
}

function startOf(node: unknown): number | undefined {
  return isNode(node) ? (node as Node).range?.[0] : undefined;
}

function isEmpty(node: unknown): boolean {
  return node === null || (isScalar(node) && node.value === null && (node.source ?? '') === '');
}
