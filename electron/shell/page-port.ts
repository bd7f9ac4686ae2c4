// SPDX-License-Identifier: Apache-2.0
import { ipcMain, MessageChannelMain, type WebFrameMain } from 'electron';
import { TapyardError } from '../contract/error.ts';
import { askForPort, hereIsPort } from '../contract/port.ts';
import { refused } from '../contract/wire.ts';
import type { PausableChannel } from '../core/host/socket-channel.ts';
import { pageOrigin } from './app-protocol.ts';
import { portChannel } from './port-channel.ts';

/** Whether a message comes from our own page at the top of a window, and not from a frame or another origin. */
export function isOwnPage(frame: Pick<WebFrameMain, 'origin' | 'parent'> | null): boolean {
  return frame !== null && frame.parent === null && frame.origin === pageOrigin;
}

/** Gives each page that asks a port to the core; `attach` joins it. A page that cannot be joined is told why. */
export function handPortsOut(attach: (channel: PausableChannel) => Promise<void>): void {
  ipcMain.on(askForPort, (event) => {
    const frame = event.senderFrame;
    if (frame === null || !isOwnPage(frame)) return;
    const { port1, port2 } = new MessageChannelMain();
    const channel = portChannel(port1);
    frame.postMessage(hereIsPort, null, [port2]);
    attach(channel).catch((thrown: unknown) => {
      channel.send(refused(TapyardError.from(thrown)));
      channel.close();
    });
  });
}
