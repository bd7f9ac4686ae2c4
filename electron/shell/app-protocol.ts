// SPDX-License-Identifier: Apache-2.0
import { protocol } from 'electron';
import { pageHeaders, type PageFile } from '../core/host/page.ts';

const scheme = 'app';
const host = 'tapyard';

/** Where the page is. */
export const pageOrigin = `${scheme}://${host}`;

/** Makes app:// an origin like https://: with storage, modules and a policy. Must be called before the app is ready. */
export function registerScheme(): void {
  protocol.registerSchemesAsPrivileged([
    { scheme, privileges: { standard: true, secure: true, supportFetchAPI: true } },
  ]);
}

/** The answer to a request for `url`: a file of the page with the policy's headers, else 404. */
export function pageResponse(
  files: ReadonlyMap<string, PageFile>,
  { url, method }: { readonly url: string; readonly method: string },
): Response {
  const asked = new URL(url);
  const file = asked.host === host && method === 'GET' ? files.get(asked.pathname) : undefined;
  if (file === undefined)
    return new Response('There is no such file.\n', { status: 404, headers: pageHeaders });
  return new Response(new Uint8Array(file.body), { headers: { ...pageHeaders, 'content-type': file.type } });
}

/** Serves the page's files from memory. */
export function handleScheme(files: ReadonlyMap<string, PageFile>): void {
  protocol.handle(scheme, (request) => pageResponse(files, request));
}
