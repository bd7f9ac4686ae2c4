// SPDX-License-Identifier: Apache-2.0
import { TapyardError } from '../../contract/error.ts';
import { ownProgram } from '../host/programs.ts';
import { type Check, failed, ok } from './check.ts';

/** Whether Tapyard's own programs are there. */
export const netd: Check = {
  id: 'netd',
  title: 'Network helper (tapyard-netd, tapyard-tap)',
  look() {
    try {
      return ok(`${ownProgram('tapyard-netd')}, ${ownProgram('tapyard-tap')}`);
    } catch (thrown) {
      const { message, hint } = TapyardError.from(thrown);
      return failed(message, { text: hint ?? 'Install Tapyard again.', command: 'npm run setup' });
    }
  },
};
