// SPDX-License-Identifier: Apache-2.0
import process from 'node:process';
import { type ErrorData, TapyardError } from '../contract/error.ts';
import { adviceOf } from '../contract/refusal.ts';

/** Where a command writes to. */
export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  /** Whether `err` is a terminal whose current line can be written anew. */
  readonly interactive: boolean;
  /** Width of it in characters. */
  readonly columns: number;
}

/** This process's own terminal: results go to stdout, everything else to stderr. */
export function ownTerminal(): Terminal {
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    interactive: process.stderr.isTTY && process.env['TERM'] !== 'dumb',
    // 0 on a terminal that has not been told its size.
    columns: process.stderr.columns > 0 ? process.stderr.columns : 80,
  };
}

// C0 but tab and line feed, DEL, C1, and the marks that turn the direction of text around.
// oxlint-disable-next-line no-control-regex -- control characters are what this is about
const unprintable = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/**
 * Text that may come from a guest or a file, made harmless for a terminal: an escape sequence in a host
 * name could rewrite the screen or make the terminal type. Tabs and line feeds stay.
 */
export const safe = (text: string): string => text.replace(unprintable, '\ufffd');

/** As {@link safe}, on one line. */
export const safeLine = (text: string): string => safe(text).replace(/[\n\t]+/g, ' ');

/** `rows` as aligned columns, two spaces between; no trailing spaces. The first row is the heading. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, index) => {
      widths[index] = Math.max(widths[index] ?? 0, cell.length);
    });
  }
  return rows
    .map((row) =>
      row
        .map((cell, index) => cell.padEnd(widths[index] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
}

/** An error for people: what happened, its code to look it up by, the rule that said no, then what to do. */
export function errorText(error: TapyardError): string {
  return `tapyard: ${safe(error.message)} [${error.code}]\n${adviceText(error, '  ')}`;
}

/** Below an error: the rule that said no, and what to do now. */
export const adviceText = (error: Pick<ErrorData, 'code' | 'hint'>, indent: string): string =>
  adviceOf(error)
    .map((text) => `${indent}${safe(text).replaceAll('\n', `\n${indent}`)}\n`)
    .join('');

/** Writes an error; with `json` also as an object on stdout, so that a script has one thing to read. */
export function showError(terminal: Terminal, thrown: unknown, json: boolean): void {
  const error = TapyardError.from(thrown);
  terminal.err(errorText(error));
  if (json) printJson(terminal, { error: error.toData() });
}

export function printJson(terminal: Terminal, value: unknown): void {
  terminal.out(`${JSON.stringify(value, null, 2)}\n`);
}

/** A duration for people: `3.1 ms`, `240 ms`, `4.2 s`. */
export function duration(ms: number): string {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
