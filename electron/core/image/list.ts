// SPDX-License-Identifier: Apache-2.0
import { inspectImage } from './inspect.ts';
import { resolveImage } from './image.ts';

/** An image that a new guest can use without typing a path, as `image.list` answers it. */
export interface ListedImage {
  readonly image: string;
  readonly label: string;
  /** Whether it is here and can be used now. */
  readonly ready: boolean;
}

/** The images that come with Tapyard. */
export async function listImages(): Promise<ListedImage[]> {
  const micro = resolveImage('micro', '/');
  const ready = await inspectImage(micro).then(
    () => true,
    () => false,
  );
  return [{ image: 'micro', label: micro.label, ready }];
}
