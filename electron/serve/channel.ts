// SPDX-License-Identifier: Apache-2.0
import { WebSocket } from 'ws';
import type { PausableChannel } from '../core/host/socket-channel.ts';

/** Every so often a peer is asked whether it lives, ms; one that has not answered by the next time is gone. */
const pingEvery = 20_000;

/** A WebSocket as a channel of the wire. It pings, and drops a peer that is dead. */
export function webSocketChannel(socket: WebSocket): PausableChannel {
  let alive = true;
  const timer = setInterval(() => {
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
    // A paused socket reads no pong either; it is our side that holds it up.
    pause: () => socket.pause(),
    resume: () => {
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
