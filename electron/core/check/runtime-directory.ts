// SPDX-License-Identifier: Apache-2.0
import { TapyardError } from '../../contract/error.ts';
import { guestSockets } from '../guest/spec.ts';
import { guestDir, runtimeDir } from '../host/runtime-dir.ts';
import { type Check, failed, ok } from './check.ts';

/** The longest lab and guest names: where their sockets fit, all fit. */
const longest = { lab: 'l'.repeat(32), guest: 'g'.repeat(63) };

/** Whether sockets can be made where nobody else can reach them, and their paths fit the kernel's limit. */
export const runtimeDirectory: Check = {
  id: 'runtime-directory',
  title: 'Runtime directory',
  look() {
    try {
      const dir = runtimeDir();
      guestSockets(guestDir(longest.lab, longest.guest));
      return ok(`${dir} is yours alone, and its socket paths are short enough.`);
    } catch (thrown) {
      const { message, hint } = TapyardError.from(thrown);
      return failed(message, { text: hint ?? 'Log in again.' });
    }
  },
};
