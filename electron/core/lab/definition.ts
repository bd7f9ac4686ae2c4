// SPDX-License-Identifier: Apache-2.0
import { LineCounter, parseDocument } from 'yaml';
import type { FileProblem } from '../../contract/lab-file.ts';
import { LabDefinition } from '../../contract/lab-file.ts';
import { findingsOf } from './issues.ts';
import type { Finding } from './positions.ts';
import { formatPath, Positions, shown } from './positions.ts';
import { ruleFindings } from './rules.ts';

/** The largest lab file that is read, bytes. A lab of hundreds of guests is some ten kB. */
export const labFileLimit = 1_048_576;

/** More are not listed: the first tell what is wrong. */
const problemLimit = 100;

/** What a lab file says: a definition, or what is wrong with it (at least one problem), never both. */
export type LabReading =
  | { readonly definition: LabDefinition; readonly problems: readonly [] }
  | { readonly definition: undefined; readonly problems: readonly FileProblem[] };

/** Reads a lab file's bytes. Pure; never throws. */
export function readLabFile(bytes: Uint8Array): LabReading {
  if (bytes.length > labFileLimit)
    return one(
      1,
      1,
      `the file has ${bytes.length} bytes; a lab file has at most ${labFileLimit}`,
      'at most 1 MiB',
    );
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    const { line, column } = firstBadByte(bytes);
    return one(line, column, 'the file is not UTF-8 text', 'a YAML file in UTF-8');
  }
  const deep = tooDeep(text);
  if (deep !== undefined) return one(deep.line, deep.column, 'the file is nested too deeply', 'a lab file');
  try {
    return readText(text);
  } catch (error) {
    // Block nesting by indentation is not seen above, and the parser descends once for each level.
    if (error instanceof RangeError) return one(1, 1, 'the file is nested too deeply', 'a lab file');
    return one(1, 1, `the file cannot be read: ${shown(String(error), 200)}`, 'a lab file');
  }
}

function readText(text: string): LabReading {
  const lines = new LineCounter();
  // Duplicate keys are looked for below, where their path is known.
  const document = parseDocument(text, {
    lineCounter: lines,
    uniqueKeys: false,
    prettyErrors: false,
    logLevel: 'error',
  });
  const positions = new Positions(document, lines);
  const syntax = [...document.errors, ...document.warnings].map((error) => ({
    ...positions.at(error.pos[0]),
    path: '',
    message: yamlMessage(error.code, error.message),
    expected: 'YAML',
  }));
  if (syntax.length > 0) return failed(syntax);
  if (document.contents === null)
    return one(1, 1, 'the file is empty', 'a lab file: a name, networks and guests');

  const duplicates = positions.duplicateKeys().map(({ path, offset, first }) => ({
    ...positions.at(offset),
    path: formatPath(path),
    message: `"${shown(String(path.at(-1)))}" stands here a second time; the first is in line ${positions.at(first).line}`,
    expected: path.length === 2 ? 'a name that no other has' : 'each key once',
  }));
  if (duplicates.length > 0) return failed(duplicates);

  let plain: unknown;
  try {
    plain = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    if (!(error instanceof ReferenceError)) throw error;
    const message = error.message.includes('Excessive')
      ? 'aliases make this file grow without bound'
      : `an alias has no anchor: ${shown(error.message, 200)}`;
    return failed([
      { ...positions.at(positions.firstAlias()), path: '', message, expected: 'few aliases or none' },
    ]);
  }

  const located = (finding: Finding): FileProblem => ({
    ...positions.of(finding.path, finding.at),
    path: formatPath(finding.path),
    message: finding.message,
    ...(finding.expected === undefined ? {} : { expected: finding.expected }),
  });
  const proto = protoKey(plain);
  if (proto)
    return failed([
      located({ path: proto, at: 'key', message: '"__proto__" cannot be a name', expected: 'another name' }),
    ]);
  const parsed = LabDefinition.safeParse(plain);
  if (!parsed.success) return failed(findingsOf(parsed.error.issues, plain).map(located));
  const broken = ruleFindings(parsed.data).map(located);
  if (broken.length > 0) return failed(broken);
  return { definition: parsed.data, problems: [] };
}

/** zod leaves `__proto__` out of records without a word; a network of that name must not vanish. */
function protoKey(plain: unknown): string[] | undefined {
  if (typeof plain !== 'object' || plain === null) return undefined;
  for (const group of ['networks', 'guests']) {
    const entries: unknown = Reflect.get(plain, group);
    if (typeof entries === 'object' && entries !== null && Object.hasOwn(entries, '__proto__'))
      return [group, '__proto__'];
  }
  return undefined;
}

function failed(problems: FileProblem[]): LabReading {
  problems.sort((a, b) => a.line - b.line || a.column - b.column);
  return { definition: undefined, problems: problems.slice(0, problemLimit) };
}

function one(line: number, column: number, message: string, expected: string): LabReading {
  return { definition: undefined, problems: [{ line, column, path: '', message, expected }] };
}

function yamlMessage(code: string, message: string): string {
  if (code === 'MULTIPLE_DOCS') return 'a second document begins here ("---"); a lab file holds one lab';
  return `this is not YAML: ${shown(message, 200)}`;
}

/**
 * Where brackets stand deeper than any lab has use for: the parser takes seconds for a MiB of them. Quotes and
 * comments are not looked at; so many brackets are in none of those either.
 */
function tooDeep(text: string): { line: number; column: number } | undefined {
  let depth = 0;
  let line = 1;
  let lineStart = 0;
  for (let at = 0; at < text.length; at++) {
    const c = text[at];
    if (c === '\n') {
      line++;
      lineStart = at + 1;
    } else if (c === '[' || c === '{') {
      if (++depth > 200) return { line, column: at - lineStart + 1 };
    } else if (c === ']' || c === '}') depth = Math.max(0, depth - 1);
  }
  return undefined;
}

/** The place of the first byte sequence that is not UTF-8. */
function firstBadByte(bytes: Uint8Array): { line: number; column: number } {
  let start = 0;
  for (let line = 1; start <= bytes.length; line++) {
    const newline = bytes.indexOf(0x0a, start);
    const end = newline === -1 ? bytes.length : newline;
    const part = bytes.subarray(start, end);
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(part);
    } catch {
      return { line, column: new TextDecoder().decode(part).indexOf('\ufffd') + 1 || 1 };
    }
    start = end + 1;
  }
  return { line: 1, column: 1 };
}
