// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { app, BrowserWindow, dialog } from 'electron';
import { runApplication } from '../../../electron/shell/application.ts';
import type { Asked, Told } from '../told.ts';

/*
 * The shell's main.ts, but that it cannot host the core, which needs a newer Node: `tapyard serve` hosts it.
 * Lines on stdin ask for something, lines on stdout tell.
 */

const tell = (told: Told): void => {
  process.stdout.write(`${JSON.stringify(told)}\n`);
};

const leave = (thrown: unknown): void => {
  tell({ t: 'failed', reason: String(thrown) });
  app.exit(1);
};
process.on('uncaughtException', leave);
process.on('unhandledRejection', leave);
// Nobody would see a box, and it waits.
dialog.showErrorBox = (title, text) => tell({ t: 'failed', reason: `${title}: ${text}` });

dialog.showMessageBox = (...args: unknown[]) => {
  tell({ t: 'asked', question: JSON.stringify(args[args.length - 1]) });
  return Promise.resolve({ response: 0, checkboxChecked: false });
};

app.disableHardwareAcceleration();
app.on('browser-window-created', (_, window) => {
  window.once('show', () => tell({ t: 'shown', windows: BrowserWindow.getAllWindows().length }));
});

async function answer(asked: Asked): Promise<unknown> {
  const [window] = BrowserWindow.getAllWindows();
  if (window === undefined) throw new Error('there is no window');
  const { webContents } = window;
  switch (asked.t) {
    case 'evaluate':
      return webContents.executeJavaScript(asked.expression, true);
    case 'look':
      return {
        url: webContents.getURL(),
        title: window.getTitle(),
        windows: BrowserWindow.getAllWindows().length,
        pid: webContents.getOSProcessId(),
        versions: process.versions,
      };
    case 'close':
      window.close();
      return null;
  }
}

createInterface({ input: process.stdin }).on('line', (line) => {
  const asked: Asked = JSON.parse(line);
  answer(asked).then(
    (value: unknown) => tell({ t: 'answer', id: asked.id, value: value ?? null }),
    (thrown: unknown) => tell({ t: 'answer', id: asked.id, failed: String(thrown) }),
  );
});

runApplication(join(__dirname, 'preload.cjs'), () =>
  Promise.reject(new Error('Another process is to host the core.')),
);
