// SPDX-License-Identifier: Apache-2.0

/** The tap that is made ahead for the bare QEMU, as the tutorial does: persistent, opened by its name. */
export const tapOfBareQemu = 'bare0';

/** Times of one start from its beginning, ms. */
export interface StartSample {
  /** Until QEMU's monitor answers (of the command: until the command has ended). */
  readonly monitor: number;
  readonly serial: number;
}

/** What guest-inside.ts answers. The three starts were taken by turns. */
export interface GuestSamples {
  readonly bare: readonly StartSample[];
  readonly call: readonly StartSample[];
  readonly command: readonly StartSample[];
  /** `node -e 0` and `tapyard ls`, each a whole process, ms. */
  readonly node: readonly number[];
  readonly ls: readonly number[];
}
