// SPDX-License-Identifier: Apache-2.0
import { TapyardError } from '../../electron/contract/error.ts';

/**
 * Puts a text on the clipboard. A text that is still to come may be given as a promise: the browser allows
 * the clipboard only within the click, and the answer of a call arrives after it.
 */
export async function copyText(text: string | Promise<string>): Promise<void> {
  const value = await text;
  try {
    await navigator.clipboard.writeText(value);
  } catch (cause) {
    throw new TapyardError('NOT_ALLOWED', 'The browser did not let the text onto the clipboard.', {
      hint: 'Click into the window and try again, or select the text and copy it by hand.',
      cause,
    });
  }
}
