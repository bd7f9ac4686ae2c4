// SPDX-License-Identifier: Apache-2.0
/*
 * What browsers and Node both have beyond ES2023 and the wire needs. The contract is compiled without DOM
 * and Node types, so that nothing else of either can slip in; these declarations are erased.
 */
import type { AbortLike } from './client.ts';

declare function setTimeout(run: () => void, ms: number): unknown;
declare function clearTimeout(timer: unknown): void;
declare class AbortController {
  readonly signal: AbortLike;
  abort(): void;
}

/** Runs `run` once after `ms`; the returned function takes it back. */
export function after(ms: number, run: () => void): () => void {
  const timer = setTimeout(run, ms);
  return () => clearTimeout(timer);
}

/** A signal and the function that aborts it. */
export function abortable(): { signal: AbortLike; abort: () => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}
