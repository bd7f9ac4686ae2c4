// SPDX-License-Identifier: Apache-2.0
import type { Channel } from '../../electron/contract/client.ts';
import { TapyardError } from '../../electron/contract/error.ts';
import { askForPort, hereIsPort, portClosed } from '../../electron/contract/port.ts';

/** How long the shell may take to hand a port over, ms. */
const portDeadline = 10_000;

/** Asks the preload for a port to the core and makes it a channel. @throws TapyardError CORE_UNREACHABLE */
export function portChannel(): Promise<Channel> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      window.removeEventListener('message', onMessage);
      reject(new TapyardError('CORE_UNREACHABLE', 'The window got no answer from its own program.'));
    }, portDeadline);
    const onMessage = ({ data, source, ports }: MessageEvent<unknown>): void => {
      const port = ports[0];
      // Only our own preload speaks as this window and hands a port over.
      if (source !== window || data !== hereIsPort || port === undefined) return;
      clearTimeout(timer);
      window.removeEventListener('message', onMessage);
      resolve(channelOf(port));
    };
    window.addEventListener('message', onMessage);
    window.postMessage(askForPort, location.origin);
  });
}

/** A MessagePort as a channel of the wire. */
export function channelOf(port: MessagePort): Channel {
  const channel: Channel = {
    onMessage: undefined,
    onClose: undefined,
    buffered: 0,
    send: (message) => port.postMessage(message),
    close: () => {
      port.postMessage(portClosed);
      port.close();
    },
  };
  port.addEventListener('message', ({ data }: MessageEvent<unknown>) => {
    if (data === portClosed) {
      port.close();
      channel.onClose?.('the core has gone');
    } else if (typeof data === 'string' || data instanceof Uint8Array) {
      channel.onMessage?.(data);
    }
  });
  port.start();
  return channel;
}
