// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { runProgram } from '../host/process.ts';
import { findProgram } from '../host/programs.ts';
import { type Check, failed, ok } from './check.ts';

/** Whether the private scope can have namespaces of its own. Only trying tells: sysctls, AppArmor and seccomp all forbid it. */
export const userNamespaces: Check = {
  id: 'user-namespaces',
  title: 'User namespaces (private scope)',
  async look() {
    const unshare = findProgram('unshare');
    if (unshare === undefined) return ok('Not tried: there is no unshare program to try it with.');
    const args = ['--user', '--map-root-user', '--net', '--fork', '--pid', 'true'];
    const { code, stderr } = await runProgram(unshare, args, { deadlineMs: 5_000 });
    if (code === 0) return ok('An ordinary user can make user and network namespaces.');
    const knobs = [
      ['kernel/unprivileged_userns_clone', '0', 'sudo sysctl -w kernel.unprivileged_userns_clone=1'],
      ['user/max_user_namespaces', '0', 'sudo sysctl -w user.max_user_namespaces=15000'],
      ['user/max_net_namespaces', '0', 'sudo sysctl -w user.max_net_namespaces=15000'],
      [
        'kernel/apparmor_restrict_unprivileged_userns',
        '1',
        'sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0',
      ],
    ] as const;
    const blocking = knobs.filter(([knob, value]) => sysctl(knob) === value);
    return failed(
      `Namespaces cannot be made: ${stderr.trim().slice(0, 300)}.`,
      ...blocking.map(([knob, value, command]) => ({
        text: `${knob.replaceAll('/', '.')} is ${value}, which forbids them. To allow them until the next boot:`,
        command,
      })),
      { text: 'Or use the host scope, as root:', command: 'sudo tapyard up --scope host' },
    );
  },
};

/** The trimmed value of a sysctl by its path below /proc/sys; undefined where the kernel has none such. */
export function sysctl(path: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${path}`, 'utf8').trim();
  } catch {
    return undefined;
  }
}
