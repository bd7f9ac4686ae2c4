// SPDX-License-Identifier: Apache-2.0
import { closeSync, constants, fstatSync, openSync, watch, type FSWatcher } from 'node:fs';
import { mkdir, open, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Subscription } from '../../contract/client.ts';
import { TapyardError } from '../../contract/error.ts';
import { diskFull } from '../host/atomic-write.ts';
import { runProgram } from '../host/process.ts';
import { findProgram } from '../host/programs.ts';

/*
 * The record of a serial console is the file that QEMU has as its standard output, opened to append (O_APPEND): it
 * has every byte that the guest ever said once, whether a core was there or not, and a byte's offset in it is its
 * position in the stream for ever. So nothing that a core holds in memory matters: a killed one leaves neither gap
 * nor double. (QEMU's `logfile=` beside a socket writes a byte again when the socket was full for a moment.) A write
 * to a file never waits for a reader, and when the disk is full the guest runs on and what it says is lost.
 *
 * It is capped by punching holes (fallocate(2), FALLOC_FL_PUNCH_HOLE): the size and all offsets stay, the disk
 * space at the front is given back, and QEMU, which has the file open, notices nothing. What counts as gone
 * follows from the size alone, so no second file has to agree with this one. Node has no fallocate; the program of
 * util-linux (which every distribution installs) is run, at most once for each MiB that the guest says. Two limits: while
 * no core runs nobody punches, and a file system without holes (some network ones) keeps all.
 */

/** At least so many of the last bytes are kept. */
const keepBytes = 4 * 1024 * 1024;
/** The front is given up in pieces of this size, so the file takes at most 5 MiB. */
const pieceBytes = 1024 * 1024;
/** A flood is told at most so often. */
const lookAwayMs = 8;
/** A record that the kernel cannot watch is looked at so often. */
const unwatchedMs = 100;

/** The first byte that is kept of a record of `size` bytes. */
export function keptFrom(size: number): number {
  return size <= keepBytes ? 0 : Math.floor((size - keepBytes) / pieceBytes) * pieceBytes;
}

/** The record of one guest's serial console. */
export class SerialRecord {
  readonly path: string;
  /** Bytes before this offset may be zeros: they are punched out, or are being. */
  #punched = 0;
  #file: Promise<FileHandle> | undefined;
  #inode: number | undefined;
  readonly #listeners = new Set<() => void>();
  #unwatch: (() => void) | undefined;

  constructor(path: string) {
    this.path = path;
  }

  /** Makes an empty one where there is none, so that it can be watched before the guest's first start. Throws DISK_FULL. */
  async ensure(): Promise<void> {
    try {
      await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
      await (await open(this.path, 'a', 0o600)).close();
    } catch (thrown) {
      throw diskFull(thrown, this.path);
    }
  }

  /** The descriptor that QEMU gets as its standard output. Throws QEMU_FAILED, DISK_FULL. */
  openForQemu(): number {
    const { O_WRONLY, O_APPEND, O_CREAT, O_NONBLOCK } = constants;
    let fd: number | undefined;
    try {
      // O_NONBLOCK: a FIFO in its place must not hang the core.
      fd = openSync(this.path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK, 0o600);
      if (!fstatSync(fd).isFile()) throw new Error('it is not a regular file');
      return fd;
    } catch (thrown) {
      if (fd !== undefined) closeSync(fd);
      const full = diskFull(thrown, this.path);
      if (full !== thrown) throw full;
      const why = thrown instanceof Error ? thrown.message : String(thrown);
      throw new TapyardError('QEMU_FAILED', `The serial record ${this.path} cannot be written: ${why}`, {
        hint: 'Move away what is there; a new one is made at the next start.',
        subject: this.path,
        cause: thrown,
      });
    }
  }

  /** Bytes that the guest has said so far: the offset of the next one. */
  async size(): Promise<number> {
    const facts = await stat(this.path).catch(() => undefined);
    // Another file has its name: it was removed, and begun anew by the next start.
    if (facts?.ino !== this.#inode) {
      this.#inode = facts?.ino;
      await this.#letGo();
    }
    return facts?.size ?? 0;
  }

  /**
   * Up to `length` bytes from `offset` on, or undefined where they were given up meanwhile (then `keptFrom` says
   * where to go on). Empty at the end.
   */
  async read(offset: number, length: number): Promise<Uint8Array | undefined> {
    this.#file ??= open(this.path, 'r');
    let file: FileHandle;
    try {
      file = await this.#file;
    } catch {
      this.#file = undefined;
      return new Uint8Array();
    }
    const buffer = Buffer.allocUnsafe(length);
    const { bytesRead } = await file.read(buffer, 0, length, offset);
    return offset < this.#punched ? undefined : buffer.subarray(0, bytesRead);
  }

  /** Gives disk space back where the record is over its cap. */
  async cap(): Promise<void> {
    const from = keptFrom(await this.size());
    if (from <= this.#punched) return;
    const fallocate = findProgram('fallocate');
    if (fallocate === undefined) return;
    // Before it is true: a read that began earlier must not take zeros for what the guest said.
    this.#punched = from;
    const args = ['--punch-hole', '--offset', '0', '--length', String(from), this.path];
    await runProgram(fallocate, args, { deadlineMs: 10_000 }).catch(() => undefined);
  }

  /** Calls `listener` soon after the record grew; the kernel tells (inotify), nothing is polled. */
  watch(listener: () => void): Subscription {
    this.#listeners.add(listener);
    this.#unwatch ??= this.#startWatching();
    return {
      close: () => {
        this.#listeners.delete(listener);
        if (this.#listeners.size > 0) return;
        this.#unwatch?.();
        this.#unwatch = undefined;
      },
    };
  }

  async close(): Promise<void> {
    this.#listeners.clear();
    this.#unwatch?.();
    this.#unwatch = undefined;
    await this.#letGo();
  }

  /** Forgets all that was true of the file. */
  async #letGo(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    this.#punched = 0;
    await file?.then(
      (handle) => handle.close(),
      () => undefined,
    );
  }

  /**
   * After a change it looks away for a moment: QEMU writes byte by byte, and each would be an event. While nothing
   * is written there is neither an event nor a timer.
   */
  #startWatching(): () => void {
    let watcher: FSWatcher | undefined;
    let timer: NodeJS.Timeout | undefined;
    const tell = (): void => {
      for (const listener of this.#listeners) listener();
    };
    const changed = (): void => {
      watcher?.close();
      watcher = undefined;
      clearTimeout(timer);
      timer = setTimeout(lookAgain, lookAwayMs).unref();
      tell();
    };
    const look = (): void => {
      try {
        watcher = watch(this.path, { persistent: false }, changed).on('error', changed);
      } catch {
        // It was removed, or fs.inotify.max_user_watches or max_user_instances is used up (editors do that).
        timer = setTimeout(changed, unwatchedMs).unref();
      }
    };
    const lookAgain = (): void => {
      look();
      // What was written while nobody looked.
      tell();
    };
    look();
    return () => {
      watcher?.close();
      clearTimeout(timer);
    };
  }
}
