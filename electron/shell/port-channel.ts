// SPDX-License-Identifier: Apache-2.0
import type { MessagePortMain } from 'electron';
import { portClosed } from '../contract/port.ts';
import type { PausableChannel } from '../core/host/socket-channel.ts';

/**
 * The shell's end of a message port as a channel, paused until `resume`. A port cannot be paused again and
 * tells no backlog: page and shell are on one computer, and streams have their own credit.
 */
export function portChannel(port: MessagePortMain): PausableChannel {
  let open = true;
  const end = (reason: string): void => {
    if (!open) return;
    open = false;
    channel.onClose?.(reason);
  };
  const channel: PausableChannel = {
    onMessage: undefined,
    onClose: undefined,
    buffered: 0,
    // A Buffer may be a piece of a larger one; the copy is what travels.
    send: (message) => {
      if (open) port.postMessage(typeof message === 'string' ? message : new Uint8Array(message));
    },
    close: () => {
      if (!open) return;
      open = false;
      port.postMessage(portClosed);
      port.close();
    },
    pause: () => undefined,
    resume: () => port.start(),
  };
  port.on('message', ({ data }: { data: unknown }) => {
    if (data === portClosed) {
      end('the page closed it');
      port.close();
    } else if (typeof data === 'string' || data instanceof Uint8Array) {
      channel.onMessage?.(data);
    }
  });
  port.on('close', () => end('the page is gone'));
  return channel;
}
