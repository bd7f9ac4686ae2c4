// SPDX-License-Identifier: Apache-2.0

/* What the test and the shell's main process under test say to each other, as lines of JSON. */

/** To the main process. `evaluate` runs in the page's own world. */
export type Asked =
  | { readonly t: 'evaluate'; readonly id: number; readonly expression: string }
  | { readonly t: 'look'; readonly id: number }
  | { readonly t: 'close'; readonly id: number };

/** From it. */
export type Told =
  | { readonly t: 'shown'; readonly windows: number }
  | { readonly t: 'answer'; readonly id: number; readonly value?: unknown; readonly failed?: string }
  | { readonly t: 'asked'; readonly question: string }
  | { readonly t: 'failed'; readonly reason: string };
