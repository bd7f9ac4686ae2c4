// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runtimeDir } from '../core/host/runtime-dir.ts';
import { tokenLifetime } from './session.ts';

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;');

/**
 * Writes a file (0600) that sends a browser on to `address`, and removes it when the address has expired. A
 * browser is started with the file's name: arguments of a process can be read by every user, the file cannot.
 * @returns its path, and what removes it at once
 */
export function redirectFile(address: string): { path: string; remove(): void } {
  const path = join(runtimeDir(), `open-${randomBytes(8).toString('hex')}.html`);
  const html = `<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><meta http-equiv="refresh" content="0;url=${escaped(address)}"><title>Tapyard</title>\n`;
  writeFileSync(path, html, { mode: 0o600, flag: 'wx' });
  const remove = (): void => rmSync(path, { force: true });
  const timer = setTimeout(remove, tokenLifetime);
  timer.unref();
  return {
    path,
    remove: () => {
      clearTimeout(timer);
      remove();
    },
  };
}
