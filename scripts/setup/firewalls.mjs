// SPDX-License-Identifier: Apache-2.0

import { symlinkSync } from 'node:fs';
import { join } from 'node:path';

import { unpackedStep } from './unpacked.mjs';

/**
 * The other firewalls, for the tests and for the bench that loads them anew.
 *
 * @returns {import('./steps.mjs').Step}
 */
export function firewallsStep() {
  return unpackedStep({
    title: 'other firewalls',
    name: 'firewalls',
    wanted: [
      'ufw',
      'firewalld',
      'docker.io',
      'libvirt-daemon',
      'libvirt-clients',
      'iptables',
      'dbus-daemon',
      'polkitd',
      'systemd-resolved',
    ],
    without: 'Without these packages netd is neither tested nor measured beside other firewalls.',
    finish(root) {
      // What firewalld's postinst does by way of the alternatives system.
      const actions = join(root, 'usr/share/polkit-1/actions');
      symlinkSync(
        'org.fedoraproject.FirewallD1.server.policy.choice',
        join(actions, 'org.fedoraproject.FirewallD1.policy'),
      );
    },
  });
}
