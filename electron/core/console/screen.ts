// SPDX-License-Identifier: Apache-2.0
import { connect } from 'node:net';
import { TapyardError } from '../../contract/error.ts';
import type { ByteIntake, ByteSink } from '../../contract/server.ts';

/** Input that QEMU has not read: keys and pointer movements are small, so this is a QEMU that hangs. */
const longestInput = 1024 * 1024;

/**
 * Connects a viewer to QEMU's VNC socket. Each viewer has a connection of its own (QEMU shares the screen), so a slow
 * one slows nobody else: its socket is paused while it has no credit, and QEMU sends it fewer updates.
 * Throws CONSOLE_CLOSED where nobody listens.
 */
export async function openScreen(path: string, sink: ByteSink): Promise<ByteIntake> {
  const socket = connect({ path });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', (cause) => {
      reject(
        new TapyardError('CONSOLE_CLOSED', `The screen ${path} cannot be opened: ${cause.message}`, {
          hint: 'A guest has a screen while it runs.',
          subject: path,
          cause,
        }),
      );
    });
  });
  let offset = 0;
  let ended = false;
  let rest: Buffer | undefined;
  const flush = (): void => {
    while (rest !== undefined) {
      const length = ended ? 0 : Math.min(rest.length, sink.credit);
      if (length <= 0) break;
      const chunk = rest.subarray(0, length);
      rest = length === rest.length ? undefined : rest.subarray(length);
      const at = offset;
      offset += length;
      sink.data(chunk, at);
    }
    if (ended) return;
    if (rest === undefined && sink.credit > 0) socket.resume();
    else socket.pause();
    if (rest === undefined && socket.readableEnded) finish();
  };
  const finish = (error?: TapyardError): void => {
    if (ended) return;
    ended = true;
    sink.onCredit = undefined;
    socket.destroy();
    sink.end(error);
  };
  sink.onCredit = flush;
  socket.on('data', (chunk) => {
    rest = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
    flush();
  });
  // What QEMU sent last still reaches the viewer; then the stream ends.
  socket.on('end', () => {
    if (rest === undefined) finish();
  });
  socket.on('error', (cause) => {
    finish(
      new TapyardError('CONSOLE_CLOSED', `The screen ${path} broke off: ${cause.message}`, { subject: path }),
    );
  });
  return {
    write: (chunk) => {
      if (ended) return;
      socket.write(chunk);
      if (socket.writableLength > longestInput) {
        finish(new TapyardError('CONSOLE_CLOSED', `QEMU takes no input on ${path}.`, { subject: path }));
      }
    },
    close: () => {
      if (ended) return;
      ended = true;
      sink.onCredit = undefined;
      socket.destroy();
    },
  };
}
