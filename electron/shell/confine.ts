// SPDX-License-Identifier: Apache-2.0
import { app, session } from 'electron';

/** What the page may ask the browser for: putting text on the clipboard, as a console needs it. */
const allowedPermissions: ReadonlySet<string> = new Set(['clipboard-sanitized-write']);

/** Keeps every window of this program at its own page: no navigation, no further windows, no permissions. */
export function confineWindows(): void {
  app.on('web-contents-created', (_, contents) => {
    contents.on('will-navigate', (event) => event.preventDefault());
    contents.on('will-frame-navigate', (event) => event.preventDefault());
    contents.on('will-attach-webview', (event) => event.preventDefault());
    contents.setWindowOpenHandler(() => ({ action: 'deny' }));
  });
}

/** Refuses permissions; the session exists once the app is ready. */
export function confineSession(): void {
  const { defaultSession } = session;
  defaultSession.setPermissionRequestHandler((_contents, permission, answer) =>
    answer(allowedPermissions.has(permission)),
  );
  defaultSession.setPermissionCheckHandler((_contents, permission) => allowedPermissions.has(permission));
}
