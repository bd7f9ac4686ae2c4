// SPDX-License-Identifier: Apache-2.0
import { WebSocket } from 'ws';
import type { PausableChannel } from '../core/host/socket-channel.ts';

/** Every so often a peer is asked whether it lives, ms; one that has not answered by the next time is gone. */
const pingEvery = 20_000;

/** A WebSocket as a channel of the wire. It pings, and drops a peer that is dead. */
export function webSocketChannel(socket: WebSocket): PausableChannel {
  let alive = true;
  let paused = false;
  const timer = setInterval(() => {
    // Nothing is read from a paused socket, the answer to a ping neither.
    if (paused) return;
    if (!alive) {
      socket.terminate();
      return;
    }
    alive = false;
    socket.ping();
  }, pingEvery);
  timer.unref();
  const channel: PausableChannel = {
    onMessage: undefined,
    onClose: undefined,
    get buffered() {
      return socket.bufferedAmount;
    },
    send: (message) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(message);
    },
    close: () => socket.close(),
    pause: () => {
      paused = true;
      socket.pause();
    },
    resume: () => {
      paused = false;
      alive = true;
      socket.resume();
    },
  };
  socket.on('pong', () => {
    alive = true;
  });
  socket.on('message', (data, isBinary) => {
    alive = true;
    const bytes = Buffer.isBuffer(data)
      ? data
      : Array.isArray(data)
        ? Buffer.concat(data)
        : Buffer.from(data);
    channel.onMessage?.(isBinary ? bytes : bytes.toString('utf8'));
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    clearInterval(timer);
    channel.onClose?.('the browser closed it');
  });
  return channel;
}
