// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, readdir, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import process from 'node:process';
import { TapyardError } from '../../contract/error.ts';

/** The errno name of a failed system call (`ENOENT`), undefined for any other thing thrown. */
export function errnoOf(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error) || !('code' in thrown)) return undefined;
  return typeof thrown.code === 'string' ? thrown.code : undefined;
}

/** ENOSPC and EDQUOT as DISK_FULL about `path`; anything else as it is. */
export function diskFull(thrown: unknown, path: string): unknown {
  const code = errnoOf(thrown);
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return thrown;
  const what = code === 'ENOSPC' ? 'The file system is full' : 'Your disk quota is used up';
  return new TapyardError('DISK_FULL', `${what}: ${path} could not be written.`, {
    hint: `Free some space there (df -h ${dirname(path)}) and try again.`,
    subject: path,
    cause: thrown,
  });
}

/**
 * Replaces `path` by `data` so that a reader, or a crash, sees the old or the new content and never a part:
 * a file beside it, fsync, rename(2). Mode and owner of an existing file stay, and a symbolic link stays one
 * (its target is replaced). `mode` is for a new file, default 0666 less the umask.
 * Throws DISK_FULL; other failures of the file system as Node throws them.
 */
export async function writeFileAtomic(
  path: string,
  data: string | Uint8Array,
  { mode = 0o666 }: { mode?: number } = {},
): Promise<void> {
  const target = await realpath(path).catch(() => path);
  const old = await stat(target).catch(() => undefined);
  await removeLeftovers(target);
  const aside = join(
    dirname(target),
    `.${basename(target)}.${process.pid}.${randomBytes(6).toString('hex')}.tmp`,
  );
  try {
    const file = await open(aside, 'wx', mode);
    try {
      await file.writeFile(data);
      if (old !== undefined) {
        await file.chmod(old.mode & 0o7777);
        // Only root can give a file away; anybody else writes his own.
        const made = await file.stat();
        if (made.uid !== old.uid || made.gid !== old.gid)
          await file.chown(old.uid, old.gid).catch(() => undefined);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(aside, target);
    await syncDirectory(dirname(target));
  } catch (thrown) {
    await rm(aside, { force: true });
    throw diskFull(thrown, path);
  }
}

/** How old what a writer left must be, ms: one in a container has a number that is nobody's here, and is soon done. */
const leftAfter = 60_000;

/** Takes away what writers left beside `target` that were killed before their rename. */
async function removeLeftovers(target: string): Promise<void> {
  const begin = `.${basename(target)}.`;
  const names = await readdir(dirname(target)).catch(() => []);
  const left = names.filter((name) => {
    const pid = name.startsWith(begin)
      ? /^(\d+)\.[0-9a-f]{12}\.tmp$/.exec(name.slice(begin.length))?.[1]
      : undefined;
    return pid !== undefined && !existsSync(`/proc/${pid}`);
  });
  await Promise.all(
    left.map(async (name) => {
      const path = join(dirname(target), name);
      const written = (await stat(path).catch(() => undefined))?.mtimeMs ?? Infinity;
      if (Date.now() - written > leftAfter) await rm(path, { force: true }).catch(() => undefined);
    }),
  );
}

/** A rename is durable only when its directory is. Some file systems refuse fsync there; then it is as good as it gets. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync().catch(() => undefined);
  } finally {
    await directory.close();
  }
}
