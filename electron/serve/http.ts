// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage, ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { pageHeaders, type PageFile } from '../core/host/page.ts';

/** The one name that this serve answers to. `port` is undefined behind a unix socket: a tunnel chooses it. */
export interface Site {
  readonly name: string;
  port: number | undefined;
}

/**
 * Whether Host is ours. A page of another site that makes its name resolve to 127.0.0.1 (DNS rebinding)
 * sends its own name.
 */
export function hostAllowed(site: Site, { headers: { host } }: IncomingMessage): boolean {
  if (host === undefined) return false;
  if (site.port !== undefined) return host === `${site.name}:${site.port}`;
  return host === site.name || new RegExp(`^${site.name.replaceAll('.', '\\.')}:[0-9]{1,5}$`).test(host);
}

/** Whether Origin is ours; where it is `required` it must be there. Browsers send it on every WebSocket and non-GET. */
export function originAllowed({ headers }: IncomingMessage, required: boolean): boolean {
  const { origin, host } = headers;
  if (origin === undefined) return !required;
  // Host was compared with our name before.
  return origin === `http://${host ?? ''}`;
}

const compressible = /^(?:text|application\/(?:json|manifest))|svg/;
const compressed = new WeakMap<PageFile, Buffer>();

/** A file's gzip, made when it is first asked for: over `ssh -L` it counts. */
function gzipOf(file: PageFile): Buffer {
  const known = compressed.get(file);
  if (known !== undefined) return known;
  const made = gzipSync(file.body);
  compressed.set(file, made);
  return made;
}

/** Answers a request for a file of the page. Nothing that is asked for here changes anything. */
export function answer(
  files: ReadonlyMap<string, PageFile>,
  site: Site,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const { method = '' } = request;
  const reading = method === 'GET' || method === 'HEAD';
  const refuse = (status: number, text: string): void => {
    response.writeHead(status, {
      ...pageHeaders,
      'content-type': 'text/plain; charset=utf-8',
      'cache-control': 'no-store',
      connection: 'close',
    });
    response.end(`${text}\n`);
  };
  if (!hostAllowed(site, request) || !originAllowed(request, !reading)) {
    refuse(403, 'This is not an address of Tapyard.');
    return;
  }
  if (!reading) {
    refuse(405, 'Only GET.');
    return;
  }
  const file = files.get((request.url ?? '').split('?')[0] ?? '');
  if (file === undefined) {
    refuse(404, 'There is no such file.');
    return;
  }
  const gzip =
    file.body.length > 1024 &&
    compressible.test(file.type) &&
    /\bgzip\b/.test(request.headers['accept-encoding'] ?? '');
  const body = gzip ? gzipOf(file) : file.body;
  response.writeHead(200, {
    ...pageHeaders,
    'content-type': file.type,
    'content-length': body.length,
    'cache-control': file.hashed ? 'private, max-age=31536000, immutable' : 'no-store',
    vary: 'accept-encoding',
    ...(gzip ? { 'content-encoding': 'gzip' } : {}),
  });
  response.end(method === 'HEAD' ? undefined : body);
}
