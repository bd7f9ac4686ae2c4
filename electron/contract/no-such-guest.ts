// SPDX-License-Identifier: Apache-2.0
import { TapyardError } from './error.ts';

/** NO_SUCH_GUEST, in the same words wherever it is found out. */
export const noSuchGuest = (lab: string, guest: string): TapyardError =>
  new TapyardError('NO_SUCH_GUEST', `The lab ${lab} has no guest “${guest}”.`, {
    hint: 'See what there is: tapyard ls',
    subject: `${lab}/${guest}`,
  });
