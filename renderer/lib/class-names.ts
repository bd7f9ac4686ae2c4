// SPDX-License-Identifier: Apache-2.0

/** Joins class names and leaves out what is not there: `cx(styles.button, active && styles.active)`. */
export function cx(...names: readonly (string | undefined | false | null)[]): string {
  return names.filter(Boolean).join(' ');
}
