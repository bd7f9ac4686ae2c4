// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { chmodSync, lstatSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server as HttpServer } from 'node:http';
import type { ListenOptions, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { TapyardError } from '../contract/error.ts';
import { readPage, type PageFile } from '../core/host/page.ts';
import { somebodyListens } from '../core/guest/machine.ts';
import { ownUid } from '../core/host/runtime-dir.ts';
import type { PausableChannel } from '../core/host/socket-channel.ts';
import { admitSocket } from './admission.ts';
import { answer, hostAllowed, originAllowed, type Site } from './http.ts';
import { peerUid } from './peer.ts';
import { Sessions } from './session.ts';

/** Longest message that a browser may send, bytes: a pasted text is the largest honest one. */
const maxPayload = 1_048_576;
const connectionLimit = 64;
const slowClient = 10_000;

export interface ServeOptions {
  /** Where to listen: a port of 127.0.0.1 (0 lets the kernel pick), or the path of a unix socket. */
  readonly at: { readonly port: number } | { readonly socket: string };
  /** The directory of the built page. */
  readonly page: string;
  /** Joins an admitted page's channel, which is paused, to the core. */
  readonly attach: (channel: PausableChannel) => Promise<void>;
}

/** A serve that listens. */
export interface Serving {
  /** `http://tapyard-….localhost:PORT`; with a unix socket the port is the caller's affair and left out. */
  readonly origin: string;
  /** An address that opens the page once, within 60 s. */
  address(): string;
  close(): Promise<void>;
}

/**
 * Serves the page and the wire to browsers of this user.
 * @throws TapyardError RENDERER_MISSING, SERVE_FAILED (the port or the socket cannot be had)
 */
export async function serve(options: ServeOptions): Promise<Serving> {
  const files = readPage(options.page);
  const sessions = new Sessions();
  const name = `tapyard-${randomBytes(8).toString('hex')}.localhost`;
  const overTcp = 'port' in options.at;
  const site: Site = { name, port: undefined };
  const sockets = new WebSocketServer({ noServer: true, maxPayload, perMessageDeflate: false });
  const http = httpServer(files, site);
  http.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (!hostAllowed(site, request) || !originAllowed(request, true) || request.url !== '/wire') {
      socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      return;
    }
    sockets.handleUpgrade(request, socket, head, (ws) => void admitSocket(ws, sessions, options.attach));
  });
  if (overTcp) {
    // Ahead of http's own listener: a socket that is destroyed here has no byte parsed.
    http.prependListener('connection', (socket: Socket) => {
      if (!ownPeer(socket)) socket.destroy();
    });
  }
  http.maxConnections = connectionLimit;
  await listen(http, options.at);
  const bound = http.address();
  if (overTcp && typeof bound === 'object' && bound !== null) site.port = bound.port;
  const origin = `http://${name}${site.port === undefined ? '' : `:${site.port}`}`;
  return {
    origin,
    address: () => `${origin}/#t=${sessions.issue()}`,
    close: async () => {
      const closed = new Promise((resolve) => http.close(resolve));
      http.closeAllConnections();
      for (const socket of sockets.clients) socket.terminate();
      await closed;
    },
  };
}

function httpServer(files: ReadonlyMap<string, PageFile>, site: Site): HttpServer {
  return createServer(
    { headersTimeout: slowClient, requestTimeout: slowClient, keepAliveTimeout: 5000 },
    (request, response) => answer(files, site, request, response),
  );
}

/** Whether the other end of a TCP connection belongs to this user, as the kernel says. */
function ownPeer(socket: Socket): boolean {
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  if (remoteAddress === undefined || remotePort === undefined) return false;
  if (localAddress === undefined || localPort === undefined) return false;
  const uid = peerUid(
    { address: remoteAddress, port: remotePort },
    { address: localAddress, port: localPort },
  );
  return uid === ownUid();
}

async function listen(listener: HttpServer, at: ServeOptions['at']): Promise<void> {
  const where: ListenOptions = 'port' in at ? { host: '127.0.0.1', port: at.port } : { path: at.socket };
  try {
    if ('socket' in at) await removeStaleSocket(at.socket);
    await new Promise<void>((resolve, reject) => {
      listener.once('error', reject);
      const listening = (): void => {
        listener.off('error', reject);
        listener.on('error', () => undefined);
        resolve();
      };
      // The socket must not be open to others for a moment before chmod. Node binds it at once; the umask is the
      // whole process's, and the core may make directories in the next moment.
      const umask = process.umask(0o177);
      try {
        listener.listen(where, listening);
      } finally {
        process.umask(umask);
      }
    });
    if ('socket' in at) chmodSync(at.socket, 0o600);
  } catch (cause) {
    const place = 'port' in at ? `port ${at.port}` : at.socket;
    throw new TapyardError(
      'SERVE_FAILED',
      `Tapyard cannot listen on ${place}: ${cause instanceof Error ? cause.message : String(cause)}.`,
      {
        hint:
          'port' in at
            ? 'Leave --port out to let the kernel pick one.'
            : 'Choose a path that you can write to and that no other program uses.',
        cause,
      },
    );
  }
}

/** A socket file that nobody needs any more stays when its process is killed; anything else is not ours to remove. */
async function removeStaleSocket(path: string): Promise<void> {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats?.isSocket() !== true || stats.uid !== ownUid()) return;
  if (await somebodyListens(path)) throw new Error(`a program listens on ${path}`);
  rmSync(path);
}
