// SPDX-License-Identifier: Apache-2.0

/** The tap that is made ahead for the bare QEMU, as the tutorial does: persistent, opened by its name. */
export const tapOfBareQemu = 'bare0';

/** Times of one start from its beginning, ms. */
export interface StartSample {
  /** Until QEMU's monitor answers (of a command: until the command has ended). */
  readonly monitor: number;
  readonly serial: number;
}

/** What guest-inside.ts answers. The starts were taken by turns. */
export interface GuestSamples {
  readonly bare: readonly StartSample[];
  readonly call: readonly StartSample[];
  /** `tapyard start`: the native front, which has the core do it. */
  readonly command: readonly StartSample[];
  /** The same command in a Node of its own. */
  readonly nodeCommand: readonly StartSample[];
  /** `tapyard ls`, the same in a Node of its own, and `node -e 0`: each a whole process, ms. */
  readonly ls: readonly number[];
  readonly nodeLs: readonly number[];
  readonly node: readonly number[];
}
