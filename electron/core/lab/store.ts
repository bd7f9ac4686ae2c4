// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, readFileSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { TapyardError } from '../../contract/error.ts';
import { LabName, Scope } from '../../contract/names.ts';
import { z } from '../../contract/zod.ts';
import { errnoOf, writeFileAtomic } from '../host/atomic-write.ts';
import { stateDir } from '../host/runtime-dir.ts';

const current = 1;

/**
 * A lab that this user has opened: where its file is, the scope it was last brought up in, and while it is moved to
 * another, which.
 */
const KnownLab = z.strictObject({ name: LabName, file: z.string(), scope: Scope, movesTo: Scope.optional() });
export type KnownLab = z.infer<typeof KnownLab>;

const StoreFile = z.strictObject({ version: z.literal(current), labs: z.array(KnownLab) });

/** From version n to n + 1, by n. A file of an older build passes through all that follow its version. */
const migrations: Readonly<Record<number, (old: unknown) => unknown>> = {};

/** The file that the store is in. */
export function storePath(): string {
  return join(stateDir(), 'labs.json');
}

/**
 * Reads the list. A file that cannot be understood is set aside under another name, so nothing is lost,
 * and told by STATE_FILE_INVALID in `error`; the list is then empty.
 */
export function readStore(path: string = storePath()): { labs: KnownLab[]; error: TapyardError | undefined } {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return { labs: [], error: undefined };
    return { labs: [], error: broken(path, 'it cannot be read', undefined) };
  }
  const parsed = StoreFile.safeParse(migrated(text));
  if (parsed.success) return { labs: parsed.data.labs, error: undefined };
  const aside = `${path}.broken-${Date.now()}`;
  try {
    renameSync(path, aside);
  } catch {
    return { labs: [], error: broken(path, 'it is not a list of labs', undefined) };
  }
  return { labs: [], error: broken(path, 'it is not a list of labs', aside) };
}

function migrated(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  for (let version = versionOf(value); version < current; version++) value = migrations[version]?.(value);
  return value;
}

function versionOf(value: unknown): number {
  const version = typeof value === 'object' && value !== null ? Reflect.get(value, 'version') : undefined;
  return typeof version === 'number' && Number.isSafeInteger(version) && version > 0 ? version : current;
}

function broken(path: string, what: string, aside: string | undefined): TapyardError {
  return new TapyardError('STATE_FILE_INVALID', `The list of your labs, ${path}, was not used: ${what}.`, {
    hint:
      aside === undefined
        ? 'Look at its permissions.'
        : `It was kept as ${aside}. Open your labs again: tapyard up FILE.`,
    subject: path,
  });
}

/** Writes the list. Throws DISK_FULL and what the file system says. */
export async function writeStore(labs: readonly KnownLab[], path: string = storePath()): Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  await writeFileAtomic(path, `${JSON.stringify({ version: current, labs }, undefined, 2)}\n`, {
    mode: 0o600,
  });
}
