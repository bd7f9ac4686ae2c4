// SPDX-License-Identifier: Apache-2.0
import { app, session } from 'electron';
import { pageOrigin } from './app-protocol.ts';
import { offerLink } from './link.ts';

/*
 * Electron's security checklist (electronjs.org/docs/latest/tutorial/security) as far as it is code; the rest is
 * in window.ts (a window's rights), page-port.ts (who may ask) and core/host/page.ts (the policy).
 */

/** What the page may ask the browser for: putting text on the clipboard, as a console needs it. */
const allowedPermissions: ReadonlySet<string> = new Set(['clipboard-sanitized-write']);

/** Where no request of a window may go. Its page is app:, and the policy of a page is the page's own to break. */
const network = ['http://*/*', 'https://*/*', 'ws://*/*', 'wss://*/*', 'file:///*'];

const allowed = (permission: string, asker: string): boolean =>
  allowedPermissions.has(permission) && originOf(asker) === pageOrigin;

/** Keeps every window of this program at its own page: no navigation, no further windows. */
export function confineWindows(): void {
  app.on('web-contents-created', (_, contents) => {
    contents.on('will-navigate', (event) => event.preventDefault());
    contents.on('will-frame-navigate', (event) => event.preventDefault());
    contents.on('will-redirect', (event) => event.preventDefault());
    contents.on('will-attach-webview', (event) => event.preventDefault());
    contents.setWindowOpenHandler(({ url }) => {
      void offerLink(url);
      return { action: 'deny' };
    });
    // It is no request, so neither the policy nor the filter below would stop it.
    contents.setWebRTCIPHandlingPolicy('disable_non_proxied_udp');
  });
}

/** Refuses permissions, downloads and the network; the session exists once the app is ready. */
export function confineSession(): void {
  const { defaultSession } = session;
  defaultSession.setPermissionRequestHandler((_contents, permission, answer, { requestingUrl }) =>
    answer(allowed(permission, requestingUrl)),
  );
  defaultSession.setPermissionCheckHandler((_contents, permission, origin) => allowed(permission, origin));
  defaultSession.setDevicePermissionHandler(() => false);
  defaultSession.on('will-download', (event) => event.preventDefault());
  defaultSession.webRequest.onBeforeRequest({ urls: network }, (_, answer) => answer({ cancel: true }));
}

/** The origin of an address; Node's URL has none for schemes of our own. */
function originOf(address: string): string | undefined {
  if (!URL.canParse(address)) return undefined;
  const { protocol, host } = new URL(address);
  return `${protocol}//${host}`;
}
