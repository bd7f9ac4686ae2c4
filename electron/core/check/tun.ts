// SPDX-License-Identifier: Apache-2.0
import { closeSync, openSync } from 'node:fs';
import { errnoOf } from '../host/atomic-write.ts';
import { type Check, failed, ok, words } from './check.ts';

const device = '/dev/net/tun';

/** Whether taps can be made: netd opens this device as the user. */
export const tun: Check = {
  id: 'tun',
  title: 'TUN/TAP device',
  look() {
    try {
      closeSync(openSync(device, 'r+'));
      return ok(`${device} can be opened.`);
    } catch (thrown) {
      switch (errnoOf(thrown)) {
        case 'ENOENT':
        case 'ENODEV':
        case 'ENXIO':
          return failed(`There is no ${device}: the kernel's tun module is not loaded.`, {
            text: 'Load it:',
            command: 'sudo modprobe tun',
          });
        case 'EACCES':
        case 'EPERM':
          return failed(`You may not open ${device}. Every distribution ships it open to all (0666).`, {
            text: 'Give it back its mode:',
            command: `sudo chmod 0666 ${device}`,
          });
        case undefined:
        default:
          return failed(`${device} cannot be opened: ${words(thrown)}`, {
            text: 'Load the module:',
            command: 'sudo modprobe tun',
          });
      }
    }
  },
};
