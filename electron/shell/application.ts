// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import { app, dialog } from 'electron';
import { TapyardError } from '../contract/error.ts';
import { CoreSeat } from '../core/host/core-seat.ts';
import type { RunningCore } from '../core/host/election.ts';
import { readPage } from '../core/host/page.ts';
import { rendererDirectory } from '../core/host/programs.ts';
import { stateDir } from '../core/host/runtime-dir.ts';
import { handleScheme, registerScheme } from './app-protocol.ts';
import { confineSession, confineWindows } from './confine.ts';
import { setMenu } from './menu.ts';
import { handPortsOut } from './page-port.ts';
import { openWindow, showWindow } from './window.ts';

const joinDeadline = 10_000;
/** How long the core may take to close when the program ends, ms. */
const closeDeadline = 8000;

/**
 * The desktop program: one window on the user's core, which it hosts unless another process does. Only wires;
 * must be called before Electron is ready.
 * @param preload path of the built preload
 */
export function runApplication(preload: string, start: () => Promise<RunningCore>): void {
  app.enableSandbox();
  // Chromium's own files are neither settings nor data of ours.
  app.setPath('userData', join(stateDir(), 'electron'));
  if (!app.requestSingleInstanceLock()) {
    app.quit();
    return;
  }
  registerScheme();
  confineWindows();
  const seat = new CoreSeat({ start, deadlineMs: joinDeadline });
  app.on('second-instance', () => showWindow(preload));
  app.on('window-all-closed', () => app.quit());
  endInOrder(seat);
  app
    .whenReady()
    .then(async () => {
      await seat.hold();
      confineSession();
      handleScheme(readPage(rendererDirectory()));
      setMenu();
      handPortsOut((channel) => seat.attach(channel, 'window'));
      openWindow(preload);
    })
    .catch((thrown: unknown) => {
      const error = TapyardError.from(thrown);
      dialog.showErrorBox('Tapyard cannot start', [error.message, error.hint ?? ''].join('\n\n'));
      app.exit(1);
    });
}

/** Lets the core go before the process does, but not for ever. Guests run on. */
function endInOrder(seat: CoreSeat): void {
  let closed = false;
  app.on('will-quit', (event) => {
    if (closed) return;
    event.preventDefault();
    const finish = (): void => {
      if (closed) return;
      closed = true;
      app.quit();
    };
    setTimeout(finish, closeDeadline);
    // In a turn of its own: until this event is over Electron is quitting, and ignores that it is asked to.
    const later = (): void => void setImmediate(finish);
    seat.close().then(later, later);
  });
}
