// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { constants, type FSWatcher, watch } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { LabDefinition } from '../../contract/lab-file.ts';
import type { FileProblem } from '../../contract/lab-file.ts';
import { TapyardError } from '../../contract/error.ts';
import { errnoOf, writeFileAtomic } from '../host/atomic-write.ts';
import { shellWord } from './shell-quote.ts';
import { labFileLimit, type LabReading, readLabFile } from './definition.ts';

/** Editors write a file in several steps; it is read when they have been quiet for so long, ms. */
const quiet = 80;

/** A lab file as it was read. */
export interface LoadedFile {
  /** SHA-256 of the bytes, hex. */
  readonly hash: string;
  readonly bytes: Uint8Array;
  readonly reading: LabReading;
}

/**
 * Reads a lab file. Throws LAB_FILE_MISSING and LAB_FILE_UNREADABLE; what is wrong inside it is in `reading`.
 */
export async function loadLabFile(path: string): Promise<LoadedFile> {
  const bytes = await readAtMost(path, labFileLimit + 1);
  return { hash: createHash('sha256').update(bytes).digest('hex'), bytes, reading: readLabFile(bytes) };
}

async function readAtMost(path: string, limit: number): Promise<Uint8Array> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stats = await file.stat();
      // A FIFO or a device would wait for ever (hence O_NONBLOCK) or give for ever.
      if (!stats.isFile()) throw new Error('it is not a regular file');
      const buffer = Buffer.alloc(Math.min(limit, stats.size + 1));
      let length = 0;
      while (length < buffer.length) {
        const { bytesRead } = await file.read(buffer, length, buffer.length - length);
        if (bytesRead === 0) break;
        length += bytesRead;
      }
      return buffer.subarray(0, length);
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT')
      throw new TapyardError('LAB_FILE_MISSING', `There is no lab file ${path}.`, {
        hint: 'Give the path of a lab file, or write one: the tutorial has an example.',
        subject: path,
        cause,
      });
    throw new TapyardError('LAB_FILE_UNREADABLE', `The lab file ${path} cannot be read: ${words(cause)}.`, {
      hint: `Look at its permissions: namei -l ${shellWord(path)}`,
      subject: path,
      cause,
    });
  }
}

/** LAB_FILE_INVALID with every problem as `FILE:LINE:COLUMN: message (expected …)`, one a line. */
export function invalidFile(path: string, problems: readonly FileProblem[]): TapyardError {
  const lines = problems.slice(0, 20).map(({ line, column, message, path: where, expected }) => {
    const at = where === '' ? '' : `${where}: `;
    return `${path}:${line}:${column}: ${at}${message}${expected === undefined ? '' : ` (expected ${expected})`}`;
  });
  return new TapyardError('LAB_FILE_INVALID', lines.join('\n'), {
    hint:
      problems.length === 1
        ? 'Mend this place in the file.'
        : `Mend these ${problems.length} places in the file.`,
    subject: path,
  });
}

/** LAB_FILE_INVALID for an edit whose result would be no good lab file. Its lines are those of no file. */
function invalidEdit(path: string, problems: readonly FileProblem[]): TapyardError {
  const lines = problems
    .slice(0, 20)
    .map(
      ({ message, path: where, expected }) =>
        `${where === '' ? '' : `${where}: `}${message}${expected === undefined ? '' : ` (expected ${expected})`}`,
    );
  return new TapyardError('LAB_FILE_INVALID', lines.join('\n'), {
    hint: 'Nothing was changed.',
    subject: path,
  });
}

/**
 * Changes a lab file by `edit` (text to text). `hash` is what the caller has seen: LAB_FILE_CHANGED where the
 * file is another one now; without it the edit is made on whatever the file holds. The result must be a good
 * lab file (LAB_FILE_INVALID). `before` is called with it ahead of the writing; when it rejects, nothing is
 * written. Throws LAB_FILE_UNWRITABLE, DISK_FULL as LAB_FILE_UNWRITABLE with the cause in words.
 */
export async function editLabFile(
  path: string,
  hash: string | undefined,
  edit: (text: string, definition: LabDefinition) => string,
  before?: (definition: LabDefinition) => Promise<void>,
): Promise<LoadedFile> {
  const turn = (turns.get(path) ?? Promise.resolve()).then(() => editInTurn(path, hash, edit, before));
  const over = turn.then(
    () => undefined,
    () => undefined,
  );
  turns.set(path, over);
  try {
    return await turn;
  } finally {
    if (turns.get(path) === over) turns.delete(path);
  }
}

/** The last edit of each file that is under way: two at once would each write without what the other did. */
const turns = new Map<string, Promise<void>>();

async function editInTurn(
  path: string,
  hash: string | undefined,
  edit: (text: string, definition: LabDefinition) => string,
  before?: (definition: LabDefinition) => Promise<void>,
): Promise<LoadedFile> {
  const old = await loadLabFile(path);
  if (hash !== undefined && hash !== old.hash) throw changedMeanwhile(path);
  if (!old.reading.definition) throw invalidFile(path, old.reading.problems);
  const text = new TextDecoder().decode(old.bytes);
  const result = edit(text, old.reading.definition);
  if (result === text) return old;
  const bytes = new TextEncoder().encode(result);
  const reading = readLabFile(bytes);
  if (!reading.definition) throw invalidEdit(path, reading.problems);
  if (before) {
    await before(reading.definition);
    if ((await loadLabFile(path)).hash !== old.hash) throw changedMeanwhile(path);
  }
  try {
    await writeFileAtomic(path, bytes);
  } catch (cause) {
    throw new TapyardError(
      'LAB_FILE_UNWRITABLE',
      `The lab file ${path} cannot be written: ${words(cause)}.`,
      {
        hint: `Look at the permissions of the file and its directory: namei -l ${shellWord(path)}`,
        subject: path,
        cause,
      },
    );
  }
  return { hash: createHash('sha256').update(bytes).digest('hex'), bytes, reading };
}

function changedMeanwhile(path: string): TapyardError {
  return new TapyardError(
    'LAB_FILE_CHANGED',
    `The lab file ${path} was changed meanwhile; your edit was not made.`,
    {
      hint: 'Look at what it says now, then do it again.',
      subject: path,
    },
  );
}

/** Calls back whenever the file may have changed; its directory is watched, for editors replace files. */
export function watchLabFile(path: string, changed: () => void): { close(): void } {
  let timer: NodeJS.Timeout | undefined;
  let watcher: FSWatcher | undefined;
  const name = basename(path);
  const later = (_event: string, file: string | null): void => {
    if (file !== null && file !== name) return;
    clearTimeout(timer);
    timer = setTimeout(changed, quiet);
  };
  try {
    watcher = watch(dirname(path), { persistent: false }, later);
    // The directory went away, or inotify's limit was met: the file is then read again at the next `up`.
    watcher.on('error', () => watcher?.close());
  } catch {
    watcher = undefined;
  }
  return {
    close(): void {
      clearTimeout(timer);
      watcher?.close();
    },
  };
}

function words(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
