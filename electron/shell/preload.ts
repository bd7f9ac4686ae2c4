// SPDX-License-Identifier: Apache-2.0
import { ipcRenderer } from 'electron';
import { askForPort, hereIsPort } from '../contract/port.ts';

/*
 * All that the page gets from Electron is a port to the core, when it asks. It is handed over by
 * window.postMessage: contextBridge cannot carry a port.
 */

window.addEventListener('message', ({ source, data }: MessageEvent<unknown>) => {
  if (source === window && data === askForPort) ipcRenderer.send(askForPort);
});

ipcRenderer.on(hereIsPort, ({ ports }) => {
  window.postMessage(hereIsPort, location.origin, [...ports]);
});
