// SPDX-License-Identifier: Apache-2.0
import { runProgram } from '../host/process.ts';
import { findProgram } from '../host/programs.ts';
import { type Check, failed, ok } from './check.ts';

/** Whether guests get addresses and names. */
export const dnsmasq: Check = {
  id: 'dnsmasq',
  title: 'dnsmasq, DHCP and DNS for guests',
  async look() {
    const program = findProgram('dnsmasq');
    const install = {
      text: 'Install it (Debian, Ubuntu: dnsmasq-base; elsewhere: dnsmasq), or set "dhcp: false" in the lab file:',
      command: 'sudo apt install dnsmasq-base',
    };
    if (program === undefined) return failed('dnsmasq is not installed.', install);
    const { code, stdout, stderr } = await runProgram(program, ['--version'], { deadlineMs: 5_000 });
    if (code !== 0)
      return failed(`dnsmasq does not run: ${(stderr || stdout).trim().slice(0, 300)}`, install);
    const version = /version\s+(\S+)/i.exec(stdout)?.[1] ?? 'of an unknown version';
    return ok(`dnsmasq ${version} (${program})`);
  },
};
