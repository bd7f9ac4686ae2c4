// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs';
import { extname, join, relative, sep } from 'node:path';
import { TapyardError } from '../../contract/error.ts';

/*
 * The page as serve and the desktop window hand it out: read once, from memory only, with the same headers.
 * A request's path is looked up in a map and never becomes a path of the file system.
 */

/** The Content-Security-Policy of DESIGN section 6. */
export const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src-elem 'self' 'unsafe-inline'",
  "style-src-attr 'none'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

/** Headers of every answer. */
export const pageHeaders: Readonly<Record<string, string>> = {
  'content-security-policy': contentSecurityPolicy,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
};

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.json': 'application/json',
  '.webmanifest': 'application/manifest+json',
  '.wasm': 'application/wasm',
  '.txt': 'text/plain; charset=utf-8',
};

/** One file of the page. */
export interface PageFile {
  readonly type: string;
  readonly body: Buffer;
  /** Its name has a hash of its content (`/assets/…`), so a browser may keep it. */
  readonly hashed: boolean;
}

/**
 * Reads the built page from `directory`. Keys are paths of URLs (`/assets/index-1a2b.js`); `/` is index.html.
 * Files of a type that a page has no use for (source maps) are left out.
 * @throws TapyardError RENDERER_MISSING
 */
export function readPage(directory: string): ReadonlyMap<string, PageFile> {
  const files = new Map<string, PageFile>();
  try {
    for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
      const type = types[extname(entry.name)];
      if (!entry.isFile() || type === undefined) continue;
      const path = join(entry.parentPath, entry.name);
      const url = `/${relative(directory, path).split(sep).join('/')}`;
      files.set(url, { type, body: readFileSync(path), hashed: url.startsWith('/assets/') });
    }
  } catch (cause) {
    throw missing(directory, cause);
  }
  const index = files.get('/index.html');
  if (index === undefined) throw missing(directory);
  files.set('/', index);
  return files;
}

function missing(directory: string, cause?: unknown): TapyardError {
  return new TapyardError('RENDERER_MISSING', `The window’s page is not at ${directory}.`, {
    hint: 'In a checkout run: npm run build:renderer. In an installation, install the package again.',
    subject: directory,
    cause,
  });
}
