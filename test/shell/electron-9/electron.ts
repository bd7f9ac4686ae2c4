// SPDX-License-Identifier: Apache-2.0
import type { EventEmitter } from 'node:events';
import * as electron from 'electron';
import type { WebContents, WebFrameMain } from 'electron';

/*
 * What Electron 9 lacks of what the shell uses, made of what it has. In the test's bundle it stands where the
 * shell imports `electron`; everything else is the runtime's own.
 */

export const { app, BrowserWindow, dialog, Menu, MessageChannelMain, nativeTheme, session, shell } = electron;

/** As much of the global Response as the shell answers with; Node 18 brought it. */
class Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;

  constructor(
    body: string | Uint8Array,
    init: { readonly status?: number; readonly headers?: Readonly<Record<string, string>> } = {},
  ) {
    this.body = Buffer.from(body);
    this.status = init.status ?? 200;
    this.headers = init.headers ?? {};
  }
}
Object.assign(globalThis, { Response: Answer });

/** Node 20 brought it. */
function canParse(address: string): boolean {
  try {
    return new URL(address) instanceof URL;
  } catch {
    return false;
  }
}
Object.assign(URL, { canParse });

/** Electron 16 brought it. */
app.once('ready', () => {
  Object.assign(session.defaultSession, { setDevicePermissionHandler: () => undefined });
});

/** Electron 25 brought `protocol.handle`. */
export const protocol = {
  registerSchemesAsPrivileged: (schemes: Electron.CustomScheme[]): void =>
    electron.protocol.registerSchemesAsPrivileged(schemes),
  handle(scheme: string, handler: (request: { url: string; method: string }) => Answer): void {
    electron.protocol.registerBufferProtocol(scheme, (request, answer) => {
      const { status, headers, body } = handler(request);
      const [mimeType = 'text/plain'] = (headers['content-type'] ?? '').split(';');
      answer({ statusCode: status, headers, mimeType, data: body });
    });
  },
};

/** Electron 12 brought `setWindowOpenHandler`; its types have forgotten the event from before. */
app.on('web-contents-created', (_, contents) => {
  const events: EventEmitter = contents;
  Object.assign(contents, {
    setWindowOpenHandler(handler: (details: { url: string }) => { action: string }): void {
      events.on('new-window', (event: Electron.Event, url: string) => {
        if (handler({ url }).action === 'deny') event.preventDefault();
      });
    },
  });
});

type Frame = Pick<WebFrameMain, 'origin' | 'parent' | 'postMessage'>;

/** Electron 12 brought `senderFrame`. Preloads run in the top frame only, so it is who sent. */
export const ipcMain = {
  on(channel: string, listener: (event: { senderFrame: Frame }) => void): void {
    electron.ipcMain.on(channel, ({ sender }) => listener({ senderFrame: topFrame(sender) }));
  },
};

function topFrame(contents: WebContents): Frame {
  const { protocol: scheme, host } = new URL(contents.getURL());
  return {
    origin: `${scheme}//${host}`,
    parent: null,
    postMessage: (channel, message, ports) => contents.postMessage(channel, message, ports),
  };
}
