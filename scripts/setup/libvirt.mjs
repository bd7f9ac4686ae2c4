// SPDX-License-Identifier: Apache-2.0

import { unpackedStep } from './unpacked.mjs';

/**
 * libvirt, for the bench that measures networks beside its own.
 *
 * @returns {import('./steps.mjs').Step}
 */
export function libvirtStep() {
  return unpackedStep({
    title: 'libvirt',
    name: 'libvirt',
    wanted: ['libvirt-daemon', 'libvirt-clients', 'iptables'],
    without: 'Without these packages networks are not measured beside libvirt’s.',
  });
}
