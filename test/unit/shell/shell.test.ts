// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Channel } from '../../../electron/contract/client.ts';
import { connect } from '../../../electron/contract/connect.ts';
import { askForPort, hereIsPort, portClosed } from '../../../electron/contract/port.ts';
import { contentSecurityPolicy, readPage } from '../../../electron/core/host/page.ts';
import * as electron from '../../fakes/electron.ts';
import { stubServer } from '../wire/stub-server.ts';

vi.mock('electron', () => import('../../fakes/electron.ts'));

let dir: string;
let pageDirectory: string;
vi.mock('../../../electron/core/host/programs.ts', async (original) => ({
  ...(await original<object>()),
  rendererDirectory: () => pageDirectory,
}));

const coreClosed = vi.fn(() => Promise.resolve());

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tapyard-shell-'));
  pageDirectory = dir;
  writeFileSync(join(dir, 'index.html'), '<!doctype html>');
  vi.stubEnv('XDG_RUNTIME_DIR', dir);
  vi.stubEnv('XDG_STATE_HOME', join(dir, 'state'));
  const { runApplication } = await import('../../../electron/shell/application.ts');
  runApplication('/preload.cjs', () => Promise.resolve({ server: stubServer(), close: coreClosed }));
  electron.app.becomeReady();
  await vi.waitUntil(() => electron.BrowserWindow.all.length > 0);
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true });
});

describe('the program', () => {
  it('is sandboxed and its scheme privileged before Electron is ready', () => {
    const ready = electron.done.indexOf('ready');
    for (const step of [
      'enableSandbox',
      'registerSchemes',
      `setPath userData ${join(dir, 'state/tapyard/electron')}`,
    ]) {
      expect(electron.done.indexOf(step)).toBeGreaterThanOrEqual(0);
      expect(electron.done.indexOf(step)).toBeLessThan(ready);
    }
    expect(electron.protocol.schemes).toEqual([
      { scheme: 'app', privileges: { standard: true, secure: true, supportFetchAPI: true } },
    ]);
  });

  it('opens one window without any rights, and brings it to the front the second time', () => {
    const [window] = electron.BrowserWindow.all;
    expect(window?.url).toBe('app://tapyard/');
    expect(window?.options['webPreferences']).toMatchObject({
      preload: '/preload.cjs',
      sandbox: true,
      contextIsolation: true,
      nodeIntegration: false,
      webviewTag: false,
    });
    electron.app.emit('second-instance');
    expect(electron.BrowserWindow.all).toHaveLength(1);
    expect(window?.focused).toBe(1);
  });

  it('takes no key from a console', () => {
    const keys = JSON.stringify(electron.Menu.template).match(/"accelerator":"[^"]+"/g);
    expect(keys).toEqual(['"accelerator":"F11"']);
    expect(JSON.stringify(electron.Menu.template)).not.toContain('"registerAccelerator":true');
  });
});

describe('the page', () => {
  it('can go nowhere, open nothing and is granted nothing but the clipboard', () => {
    const contents = electron.BrowserWindow.all[0]?.webContents;
    for (const attempt of ['will-navigate', 'will-frame-navigate', 'will-redirect', 'will-attach-webview']) {
      const preventDefault = vi.fn();
      contents?.emit(attempt, { preventDefault });
      expect(preventDefault, attempt).toHaveBeenCalled();
    }
    expect(contents?.openHandler?.({ url: 'app://tapyard/' })).toEqual({ action: 'deny' });
    const { request, check, device } = electron.session.defaultSession;
    for (const [permission, origin, allowed] of [
      ['clipboard-sanitized-write', 'app://tapyard', true],
      ['clipboard-sanitized-write', 'https://tapyard', false],
      ['clipboard-sanitized-write', 'app://tapyard.example', false],
      ['clipboard-sanitized-write', '', false],
      ['clipboard-read', 'app://tapyard', false],
      ['media', 'app://tapyard', false],
      ['geolocation', 'app://tapyard', false],
    ] as const) {
      const answer = vi.fn();
      const requestingUrl = origin === '' ? '' : `${origin}/`;
      request?.({}, permission, answer, { requestingUrl });
      expect(answer, `${permission} ${origin}`).toHaveBeenCalledWith(allowed);
      expect(check?.({}, permission, origin), `${permission} ${origin}`).toBe(allowed);
    }
    expect(device?.()).toBe(false);
  });

  it('reaches no network and downloads nothing, whatever becomes of its policy', () => {
    const { webRequest } = electron.session.defaultSession;
    expect(webRequest.filter?.urls).toEqual(
      expect.arrayContaining(['http://*/*', 'https://*/*', 'ws://*/*', 'wss://*/*', 'file:///*']),
    );
    const answer = vi.fn();
    webRequest.filter?.listener({}, answer);
    expect(answer).toHaveBeenCalledWith({ cancel: true });
    expect(electron.BrowserWindow.all[0]?.webContents.webRtc).toBe('disable_non_proxied_udp');
    const preventDefault = vi.fn();
    electron.session.defaultSession.emit('will-download', { preventDefault });
    expect(preventDefault).toHaveBeenCalled();
  });

  it('can have an https address opened by the user’s browser, if the user says so to the program itself', async () => {
    const open = electron.BrowserWindow.all[0]?.webContents.openHandler;
    const asked = (): string[] => electron.done.filter((what) => /^(?:messageBox|openExternal)/.test(what));
    for (const url of ['http://example.com/', 'file:///etc/passwd', 'mailto:a@example.com', 'no address']) {
      expect(open?.({ url })).toEqual({ action: 'deny' });
    }
    expect(asked()).toEqual([]);
    const question = 'messageBox Open an address that a guest wrote? https://example.com/';
    expect(open?.({ url: 'https://example.com' })).toEqual({ action: 'deny' });
    // While one question waits there is no other.
    expect(open?.({ url: 'https://example.com/again' })).toEqual({ action: 'deny' });
    await vi.waitFor(() => expect(asked()).toEqual([question]));
    electron.dialog.response = 1;
    await vi.waitFor(() => {
      open?.({ url: 'https://example.com' });
      expect(asked()).toContain('openExternal https://example.com/');
    });
  });

  it('is loaded anew when its process crashed, but not again and again', () => {
    const contents = electron.BrowserWindow.all[0]?.webContents;
    vi.spyOn(console, 'error').mockReturnValue(undefined);
    contents?.emit('render-process-gone', {}, { reason: 'clean-exit' });
    expect(contents?.reloads).toBe(0);
    contents?.emit('render-process-gone', {}, { reason: 'crashed' });
    contents?.emit('render-process-gone', {}, { reason: 'crashed' });
    expect(contents?.reloads).toBe(1);
  });

  it('comes from memory, with the policy, and only it', async () => {
    const { pageResponse } = await import('../../../electron/shell/app-protocol.ts');
    const files = readPage(dir);
    const answer = pageResponse(files, { url: 'app://tapyard/', method: 'GET' });
    expect(answer.headers.get('content-security-policy')).toBe(contentSecurityPolicy);
    expect(await answer.text()).toBe('<!doctype html>');
    for (const request of [
      { url: 'app://other/', method: 'GET' },
      { url: 'app://tapyard/', method: 'POST' },
      { url: 'app://tapyard/../../etc/passwd', method: 'GET' },
      { url: 'app://tapyard/state/', method: 'GET' },
    ]) {
      expect(pageResponse(files, request).status, request.url).toBe(404);
    }
  });
});

/** The page's end of a port, as renderer/connect makes it. */
function pageChannel(port: electron.MessagePortMain): Channel {
  const channel: Channel = {
    onMessage: undefined,
    onClose: undefined,
    buffered: 0,
    send: (message) => port.postMessage(message),
    close: () => port.postMessage(portClosed),
  };
  port.on('message', ({ data }: { data: unknown }) => {
    if (data === portClosed) channel.onClose?.('closed');
    else if (typeof data === 'string' || data instanceof Uint8Array) channel.onMessage?.(data);
  });
  port.start();
  return channel;
}

describe('a port to the core', () => {
  it('is given to our own page only', () => {
    const postMessage = vi.fn();
    for (const senderFrame of [
      null,
      { origin: 'https://example.com', parent: null, postMessage },
      { origin: 'app://tapyard', parent: {}, postMessage },
      { origin: 'app://tapyard.example', parent: null, postMessage },
    ]) {
      electron.ipcMain.emit(askForPort, { senderFrame });
    }
    expect(postMessage).not.toHaveBeenCalled();
  });

  it('speaks the wire with the rights of a window, and the core ends with the program', async () => {
    const given = await new Promise<{ name: string; ports: electron.MessagePortMain[] }>((resolve) => {
      const senderFrame = {
        origin: 'app://tapyard',
        parent: null,
        postMessage: (name: string, _: null, ports: electron.MessagePortMain[]) => resolve({ name, ports }),
      };
      electron.ipcMain.emit(askForPort, { senderFrame });
    });
    expect(given.name).toBe(hereIsPort);
    const [port] = given.ports;
    if (port === undefined) throw new Error('no port');
    // Even a page that says it is the shell has the rights of a window.
    const connection = await connect(pageChannel(port), { role: 'shell', deadlineMs: 5000 });
    await expect(connection.client.check.run({})).resolves.toEqual({ results: [] });
    connection.close();
    const preventDefault = vi.fn();
    electron.app.emit('will-quit', { preventDefault });
    expect(preventDefault).toHaveBeenCalledTimes(1);
    await vi.waitUntil(() => electron.done.includes('quit'));
    expect(coreClosed).toHaveBeenCalledTimes(1);
    port.close();
  });
});

describe('the preload', () => {
  it('is small, knows no schema, and asks only for electron', async () => {
    const built = await build({
      entryPoints: ['electron/shell/preload.ts'],
      bundle: true,
      minify: true,
      platform: 'browser',
      format: 'cjs',
      external: ['electron'],
      write: false,
      metafile: true,
    });
    const [output] = built.outputFiles;
    expect(output?.contents.length).toBeLessThan(5000);
    expect(output?.text.match(/require\("[^"]+"\)/g)).toEqual(['require("electron")']);
    expect(Object.keys(built.metafile.inputs).filter((input) => input.includes('zod'))).toEqual([]);
  });
});
