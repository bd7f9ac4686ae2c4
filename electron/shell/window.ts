// SPDX-License-Identifier: Apache-2.0
import { BrowserWindow, nativeTheme, type WebPreferences } from 'electron';
import { pageOrigin } from './app-protocol.ts';

/** A page that crashes again within this is left alone, ms. */
const crashPause = 10_000;

/** The page's rights in Electron: none. */
export const webPreferences = (preload: string): WebPreferences => ({
  preload,
  sandbox: true,
  contextIsolation: true,
  nodeIntegration: false,
  nodeIntegrationInWorker: false,
  nodeIntegrationInSubFrames: false,
  webviewTag: false,
  webSecurity: true,
  spellcheck: false,
});

/** Opens the window; it shows itself when it has drawn something, on the page's own ground colour. */
export function openWindow(preload: string): BrowserWindow {
  const window = new BrowserWindow({
    width: 1440,
    height: 900,
    minWidth: 800,
    minHeight: 560,
    show: false,
    title: 'Tapyard',
    autoHideMenuBar: true,
    backgroundColor: nativeTheme.shouldUseDarkColors ? '#0e1116' : '#f5f7fa',
    webPreferences: webPreferences(preload),
  });
  window.once('ready-to-show', () => window.show());
  reloadWhenGone(window);
  window
    .loadURL(`${pageOrigin}/`)
    .catch((thrown: unknown) => console.error('The page cannot be loaded:', thrown));
  return window;
}

/** A page that has crashed is loaded anew, unless it only just was; View → Reload is there then. */
function reloadWhenGone(window: BrowserWindow): void {
  let last = Number.NEGATIVE_INFINITY;
  window.webContents.on('render-process-gone', (_, { reason }) => {
    console.error(`The page's process is gone: ${reason}.`);
    const now = performance.now();
    if (reason === 'clean-exit' || now - last < crashPause) return;
    last = now;
    window.webContents.reload();
  });
}

/** Brings the window that is there to the front, or opens one. */
export function showWindow(preload: string): void {
  const [window] = BrowserWindow.getAllWindows();
  if (window === undefined) {
    openWindow(preload);
    return;
  }
  if (window.isMinimized()) window.restore();
  window.focus();
}
