// SPDX-License-Identifier: Apache-2.0
import { appendFileSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { ActRow } from '../../contract/act.ts';
import { z } from '../../contract/zod.ts';
import { ownUid, stateDir } from '../host/runtime-dir.ts';
import type { Table } from '../host/table.ts';
import type { NetdAct } from '../net/netd-acts.ts';

/** So many acts of a lab are shown, and survive when the file is written anew. */
const kept = 300;
/** The file is written anew when it holds more lines than this; each has at most some 6 kB. */
const fileLimit = 2 * kept;

/** A line of the file: the row, and where it came from, so that nothing is taken in twice. */
const Line = z.object({ row: ActRow, instance: z.string(), seq: z.number() });
type Line = z.infer<typeof Line>;

/** Where a lab's log is kept. */
export const actsFile = (lab: string): string => join(stateDir(), 'labs', lab, 'acts.jsonl');

/**
 * What the network helper did for one lab. netd remembers its last acts and forgets them when it ends; here they
 * outlive it, in a file that has a bound.
 */
export class ActLog {
  readonly #lab: string;
  readonly #table: Table<ActRow>;
  readonly #recipe: () => string | null;
  #lines: Line[];
  /** Lines in the file. */
  #written: number;
  #next: number;

  /** @param recipe the command of the recipe's step with the filter, for acts that refer to it */
  constructor(lab: string, table: Table<ActRow>, recipe: () => string | null) {
    this.#lab = lab;
    this.#table = table;
    this.#recipe = recipe;
    const lines = readLines(actsFile(lab));
    this.#written = lines.length;
    this.#lines = lines.slice(-kept);
    this.#next = (this.#lines.at(-1)?.row.order ?? 0) + 1;
    for (const { row } of this.#lines) table.put(row);
  }

  /** Takes in what a netd tells, as often as it does. */
  take(acts: readonly NetdAct[], instance: string): void {
    const known = this.#lines.findLast((line) => line.instance === instance)?.seq ?? 0;
    const fresh = acts.filter(({ seq, lab }) => seq > known && (lab === null || lab === this.#lab));
    if (fresh.length === 0) return;
    const lines = fresh.map((act): Line => ({ row: this.#row(act), instance, seq: act.seq }));
    this.#lines.push(...lines);
    for (const { row } of lines) this.#table.put(row);
    for (const { row } of this.#lines.splice(0, Math.max(0, this.#lines.length - kept)))
      this.#table.delete(row.id);
    this.#write(lines);
  }

  /** Takes the rows away; the file stays. */
  close(): void {
    this.#table.replace([], (row) => row.lab === this.#lab);
  }

  #row({ time, network, by, what, command, recipe, error }: NetdAct): ActRow {
    const order = this.#next++;
    return {
      id: `${this.#lab}/${order}`,
      lab: this.#lab,
      order,
      time,
      network: network === null ? null : `${this.#lab}/${network}`,
      by: 'cause' in by ? null : { ...by, user: userName(by.uid) },
      cause: 'cause' in by ? by.cause : null,
      what,
      command: recipe === 'filter' ? this.#recipe() : command,
      error,
    };
  }

  /** A disk that is full costs the record, not the lab. */
  #write(lines: readonly Line[]): void {
    const path = actsFile(this.#lab);
    try {
      if (this.#written + lines.length > fileLimit) {
        writeFileSync(`${path}.new`, textOf(this.#lines), { mode: 0o600 });
        renameSync(`${path}.new`, path);
        this.#written = this.#lines.length;
        return;
      }
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      appendFileSync(path, textOf(lines), { mode: 0o600 });
      this.#written += lines.length;
    } catch {
      // The rows are shown all the same.
    }
  }
}

const textOf = (lines: readonly Line[]): string => lines.map((line) => `${JSON.stringify(line)}\n`).join('');

/** What can be read of the file: a line that a crash cut short, or an older version wrote, is passed over. */
function readLines(path: string): Line[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return [];
  }
  return text.split('\n').flatMap((line) => {
    try {
      const parsed = Line.safeParse(JSON.parse(line));
      return parsed.success ? [parsed.data] : [];
    } catch {
      return [];
    }
  });
}

function userName(uid: number): string {
  if (uid === 0) return 'root';
  try {
    if (uid === ownUid()) return userInfo().username;
  } catch {
    // A uid without a name.
  }
  return `uid ${uid}`;
}
