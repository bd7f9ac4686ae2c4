// SPDX-License-Identifier: Apache-2.0
import { accelerator } from '../guest/accelerator.ts';
import { type Check, ok, warning } from './check.ts';

/** Whether guests run with the processor's help. The verdict is of a probe that really ran a guest. */
export const kvm: Check = {
  id: 'kvm',
  title: 'Hardware acceleration (KVM)',
  async look() {
    const { use, why } = await accelerator();
    if (use === 'kvm') return ok(why);
    return warning(`${why}. Guests run in emulation: all works, several times slower.`, fixOf(why));
  },
};

/** What to do about guests without KVM, by the reason that the accelerator gives. */
export function fixOf(why: string): { text: string; command: string } {
  if (why.includes('TAPYARD_ACCEL'))
    return { text: 'To let it be found out instead:', command: 'unset TAPYARD_ACCEL' };
  if (why.includes('permission'))
    return {
      text: 'Join the group that may use it, then log in again:',
      command: 'sudo usermod -aG kvm "$USER"',
    };
  if (why.includes('present'))
    return { text: 'See what the kernel says of it:', command: 'sudo dmesg | grep -i kvm' };
  return {
    text: 'See whether the processor offers it; if not, switch virtualization on in the firmware:',
    command: 'grep -cE "vmx|svm" /proc/cpuinfo; ls -l /dev/kvm',
  };
}
