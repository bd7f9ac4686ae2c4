// SPDX-License-Identifier: Apache-2.0
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server as NetServer } from 'node:net';
import { type Served, serveChannel } from '../../contract/dispatch.ts';
import type { Server } from '../../contract/server.ts';
import { largestRequest, socketChannel } from './socket-channel.ts';

/** Windows, browsers and commands that one core serves at a time. */
const connectionLimit = 64;

/** A socket that is listened on. */
export interface Listening {
  /** Whether a client waits for an answer, or is a command that is not done. */
  waitedFor(): boolean;
  close(): Promise<void>;
}

/**
 * Serves `server` on the unix socket `path` (mode 0600, in a directory that is this user's alone). The caller
 * holds the core's lock, so a socket file that is already there is a dead core's and is replaced.
 * Rejects with the system's error where it cannot listen.
 */
export async function listenOn(path: string, server: Server): Promise<Listening> {
  const peers = new Set<Served>();
  const listener = createServer((socket) => {
    const channel = socketChannel(socket, largestRequest);
    const peer = serveChannel(channel, server, {
      audience: 'user',
      onClose: () => peers.delete(peer),
    });
    peers.add(peer);
  });
  listener.maxConnections = connectionLimit;
  rmSync(path, { force: true });
  await listening(listener, path);
  chmodSync(path, 0o600);
  return {
    waitedFor: () => [...peers].some((peer) => peer.waits),
    close: () =>
      new Promise((resolve) => {
        // Gone from the file system first: whoever looks for a core now finds none and may become one.
        rmSync(path, { force: true });
        for (const peer of peers) peer.close();
        listener.close(() => resolve());
      }),
  };
}

function listening(listener: NetServer, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    listener.once('error', reject);
    listener.listen({ path }, () => {
      listener.off('error', reject);
      // A client that goes while it is being accepted is no failure of the core.
      listener.on('error', () => undefined);
      resolve();
    });
  });
}
