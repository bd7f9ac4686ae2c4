// SPDX-License-Identifier: Apache-2.0
import { EventEmitter } from 'node:events';
import { MessageChannel, type MessagePort } from 'node:worker_threads';

/*
 * As much of Electron as the shell uses, for tests without a runtime: it notes what it is asked for, and its
 * message ports are real ones.
 */

/** Everything that was done, as "what detail". */
export const done: string[] = [];

class FakeApp extends EventEmitter {
  singleInstance = true;
  #ready: (() => void) | undefined;
  readonly #whenReady = new Promise<void>((resolve) => {
    this.#ready = resolve;
  });

  enableSandbox(): void {
    done.push('enableSandbox');
  }
  setPath(name: string, path: string): void {
    done.push(`setPath ${name} ${path}`);
  }
  requestSingleInstanceLock(): boolean {
    return this.singleInstance;
  }
  whenReady(): Promise<void> {
    return this.#whenReady;
  }
  becomeReady(): void {
    done.push('ready');
    this.#ready?.();
  }
  quit(): void {
    done.push('quit');
  }
  exit(code: number): void {
    done.push(`exit ${code}`);
  }
}

export const app = new FakeApp();

export const protocol = {
  schemes: [] as unknown[],
  handlers: new Map<string, (request: Request) => Response>(),
  registerSchemesAsPrivileged(schemes: unknown[]): void {
    done.push('registerSchemes');
    protocol.schemes = schemes;
  },
  handle(scheme: string, handler: (request: Request) => Response): void {
    protocol.handlers.set(scheme, handler);
  },
};

type PermissionRequest = (
  contents: unknown,
  permission: string,
  answer: (allowed: boolean) => void,
  details: { requestingUrl: string },
) => void;
type PermissionCheck = (contents: unknown, permission: string, origin: string) => boolean;
type RequestFilter = (details: unknown, answer: (response: { cancel: boolean }) => void) => void;

export const session = {
  defaultSession: Object.assign(new EventEmitter(), {
    request: undefined as PermissionRequest | undefined,
    check: undefined as PermissionCheck | undefined,
    setPermissionRequestHandler(handler: PermissionRequest): void {
      session.defaultSession.request = handler;
    },
    setPermissionCheckHandler(handler: PermissionCheck): void {
      session.defaultSession.check = handler;
    },
    device: undefined as (() => boolean) | undefined,
    setDevicePermissionHandler(handler: () => boolean): void {
      session.defaultSession.device = handler;
    },
    webRequest: {
      filter: undefined as { urls: string[]; listener: RequestFilter } | undefined,
      onBeforeRequest({ urls }: { urls: string[] }, listener: RequestFilter): void {
        session.defaultSession.webRequest.filter = { urls, listener };
      },
    },
  }),
};

export const ipcMain = new EventEmitter();
export const nativeTheme = { shouldUseDarkColors: true };
export const dialog = {
  showErrorBox(title: string, text: string): void {
    done.push(`errorBox ${title} ${text}`);
  },
  /** What is answered to the next question: the number of a button. */
  response: 0,
  showMessageBox({ message, detail }: { message: string; detail: string }): Promise<{ response: number }> {
    done.push(`messageBox ${message} ${detail}`);
    return Promise.resolve({ response: dialog.response });
  },
};
export const shell = {
  openExternal(url: string): Promise<void> {
    done.push(`openExternal ${url}`);
    return Promise.resolve();
  },
};

export const Menu = {
  template: [] as unknown[],
  buildFromTemplate(template: unknown[]): unknown[] {
    return template;
  },
  setApplicationMenu(template: unknown[]): void {
    Menu.template = template;
  },
};

/** The main process's end of a message port: an event `message` with `data`, nothing before `start`. */
export class MessagePortMain extends EventEmitter {
  readonly port: MessagePort;

  constructor(port: MessagePort) {
    super();
    this.port = port;
  }
  start(): void {
    this.port.on('message', (data: unknown) => this.emit('message', { data }));
    this.port.on('close', () => this.emit('close'));
  }
  postMessage(data: unknown): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port of Node, not a window
    this.port.postMessage(data);
  }
  close(): void {
    this.port.close();
  }
}

export class MessageChannelMain {
  readonly port1: MessagePortMain;
  readonly port2: MessagePortMain;

  constructor() {
    const { port1, port2 } = new MessageChannel();
    this.port1 = new MessagePortMain(port1);
    this.port2 = new MessagePortMain(port2);
  }
}

/** What a page can try to do. */
export class FakeContents extends EventEmitter {
  webRtc = '';
  reloads = 0;
  openHandler: ((details: { url: string }) => { action: string }) | undefined;
  setWindowOpenHandler(handler: (details: { url: string }) => { action: string }): void {
    this.openHandler = handler;
  }
  setWebRTCIPHandlingPolicy(policy: string): void {
    this.webRtc = policy;
  }
  reload(): void {
    this.reloads += 1;
  }
}

export class BrowserWindow extends EventEmitter {
  static all: BrowserWindow[] = [];
  readonly options: Record<string, unknown>;
  readonly webContents = new FakeContents();
  url = '';
  shown = false;
  focused = 0;

  constructor(options: Record<string, unknown>) {
    super();
    this.options = options;
    BrowserWindow.all.push(this);
    app.emit('web-contents-created', {}, this.webContents);
  }
  static getAllWindows(): BrowserWindow[] {
    return BrowserWindow.all;
  }
  loadURL(url: string): Promise<void> {
    this.url = url;
    return Promise.resolve();
  }
  show(): void {
    this.shown = true;
  }
  isMinimized(): boolean {
    return false;
  }
  restore(): void {
    done.push('restore');
  }
  focus(): void {
    this.focused += 1;
  }
}
