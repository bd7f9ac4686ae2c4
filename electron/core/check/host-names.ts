// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs';
import { type Check, ok } from './check.ts';

/** Where systemd-resolved keeps what it knows while it runs. */
const runs = '/run/systemd/resolve/stub-resolv.conf';

/** Whether this computer can resolve the guests' names: nothing that a lab needs. */
export const hostNames: Check = {
  id: 'host-names',
  title: 'Names of guests on this computer',
  look() {
    if (!existsSync(runs))
      return ok(
        'systemd-resolved does not run, so this computer knows guests by address; tapyard ssh takes names.',
      );
    return ok(
      'systemd-resolved: in the host scope guest.lab resolves here, where the network helper is root’s or a rule of polkit’s lets it. In the private scope this computer has no route to guests.',
    );
  },
};
