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
    return warning(
      `${why}. Guests run in emulation: all works, several times slower.`,
      ...(why.includes('permission')
        ? [
            {
              text: 'Join the group that may use it, then log in again:',
              command: 'sudo usermod -aG kvm "$USER"',
            },
          ]
        : [
            {
              text: 'See whether the processor offers it; if not, switch virtualization on in the firmware:',
              command: 'grep -cE "vmx|svm" /proc/cpuinfo; ls -l /dev/kvm',
            },
          ]),
    );
  },
};
