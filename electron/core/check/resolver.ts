// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { nameServers } from '../net/name-servers.ts';
import { type Check, ok, warning } from './check.ts';

/** Whether the host has name servers that guests' queries can be passed to. */
export const resolver: Check = {
  id: 'resolver',
  title: 'Name servers of this computer',
  look() {
    const file = '/etc/resolv.conf';
    let servers: string[];
    try {
      servers = nameServers(readFileSync(file, 'utf8'));
    } catch {
      return warning(`${file} cannot be read: guests reach the internet by address only.`, {
        text: 'Look at it:',
        command: `ls -l ${file}`,
      });
    }
    if (servers.length === 0)
      return warning(`${file} names no server: guests reach the internet by address only.`, {
        text: 'Look at your network connection:',
        command: `cat ${file}`,
      });
    return ok(`${servers.join(', ')}; guests ask their gateway, which asks these.`);
  },
};
