// SPDX-License-Identifier: Apache-2.0
import { basename, resolve } from 'node:path';

/**
 * An image by name: the built-in micro guest, or a file of the user. Nothing has been looked at yet;
 * `inspectImage` does that at the guest's start, so a guest whose image went away can still be shown.
 */
export type ResolvedImage =
  | { readonly kind: 'micro'; readonly label: string }
  | { readonly kind: 'file'; readonly path: string; readonly label: string };

/** What the lab file's `image` means. A relative path is relative to `dir`, the lab file's directory. */
export function resolveImage(image: string, dir: string): ResolvedImage {
  if (image === 'micro') return { kind: 'micro', label: 'Micro guest' };
  const path = resolve(dir, image);
  return { kind: 'file', path, label: basename(path) };
}
