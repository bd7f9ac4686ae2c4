// SPDX-License-Identifier: Apache-2.0
import type { AbortLike } from '../../contract/client.ts';
import { TapyardError } from '../../contract/error.ts';

function aborted(): TapyardError {
  return new TapyardError('ABORTED', 'This was stopped before it was done.');
}

/** Throws ABORTED when the abort has come. */
export function throwIfAborted(abort: AbortLike | undefined): void {
  if (abort?.aborted === true) throw aborted();
}

/** What `promise` gives, or ABORTED as soon as the abort comes; then what `promise` gives later is dropped. */
export async function untilAborted<Value>(
  promise: Promise<Value>,
  abort: AbortLike | undefined,
): Promise<Value> {
  if (abort === undefined) return await promise;
  return await new Promise((resolve, reject) => {
    const onAbort = (): void => {
      reject(aborted());
    };
    if (abort.aborted) onAbort();
    abort.addEventListener('abort', onAbort);
    void promise.then(resolve, reject).finally(() => {
      abort.removeEventListener('abort', onAbort);
    });
  });
}

/** A Node signal that follows one of the contract's. `close` ends that. */
export function nodeSignal(abort: AbortLike | undefined): { readonly signal: AbortSignal; close(): void } {
  const controller = new AbortController();
  const onAbort = (): void => {
    controller.abort();
  };
  if (abort?.aborted === true) onAbort();
  abort?.addEventListener('abort', onAbort);
  return {
    signal: controller.signal,
    close: () => {
      abort?.removeEventListener('abort', onAbort);
    },
  };
}

/** What `promise` gives, or undefined when it has not within `deadlineMs`. */
export async function within<Value>(
  promise: Promise<Value> | undefined,
  deadlineMs: number,
): Promise<Value | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, Math.max(0, deadlineMs), undefined);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
