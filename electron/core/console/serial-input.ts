// SPDX-License-Identifier: Apache-2.0
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { TapyardError } from '../../contract/error.ts';
import { runProgram } from '../host/process.ts';
import { findProgram } from '../host/programs.ts';

/*
 * What is typed into a guest goes through a FIFO in its runtime directory, which QEMU has as its standard input:
 * open for reading and writing, so that it sees no end when a writer goes, and has not to wait for one to come.
 * Any number of writers may have it open, and up to PIPE_BUF bytes (fifo(7)) of one are never mixed with another's.
 */

const mkfifoDeadlineMs = 5000;

/** Makes the FIFO, for this user only. Node cannot; the program of coreutils can. Throws QEMU_FAILED, DEADLINE, ABORTED. */
export async function makeSerialInput(path: string, abort: AbortSignal): Promise<void> {
  const mkfifo = findProgram('mkfifo');
  const made =
    mkfifo === undefined
      ? undefined
      : await runProgram(mkfifo, ['-m', '600', path], { deadlineMs: mkfifoDeadlineMs, abort });
  if (made?.code === 0) return;
  const why = made === undefined ? 'mkfifo is not installed' : made.stderr.trim();
  throw new TapyardError('QEMU_FAILED', `The serial input ${path} could not be made: ${why}.`, {
    hint: 'mkfifo is part of coreutils, and the runtime directory must be on a file system that knows FIFOs.',
    subject: path,
  });
}

/** The descriptor that QEMU gets as its standard input. */
export function openForQemu(path: string): number {
  return openSync(path, constants.O_RDWR);
}

/** Opens it for typing. Throws CONSOLE_CLOSED where there is none, or no QEMU that reads it. */
export function openForTyping(path: string): Socket {
  let fd: number | undefined;
  try {
    // Without a reader this fails (ENXIO) instead of waiting for one.
    fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    if (!fstatSync(fd).isFIFO()) throw new Error('it is not a FIFO');
    return new Socket({ fd, readable: false, writable: true });
  } catch (cause) {
    if (fd !== undefined) closeSync(fd);
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TapyardError('CONSOLE_CLOSED', `The serial input ${path} cannot be opened: ${why}`, {
      subject: path,
      cause,
    });
  }
}
