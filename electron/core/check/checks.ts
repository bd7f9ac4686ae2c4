// SPDX-License-Identifier: Apache-2.0
import type { CheckResult } from '../../contract/rows.ts';
import { type Check, failed, words } from './check.ts';
import { diskSpace } from './disk-space.ts';
import { dnsmasq } from './dnsmasq.ts';
import { firewalls } from './firewalls.ts';
import { hostNames } from './host-names.ts';
import { hostScope } from './host-scope.ts';
import { ipv6 } from './ipv6.ts';
import { kvm } from './kvm.ts';
import { netd } from './netd.ts';
import { pasta } from './pasta.ts';
import { ping } from './ping.ts';
import { qemu, qemuImg } from './qemu.ts';
import { resolver } from './resolver.ts';
import { runtimeDirectory } from './runtime-directory.ts';
import { tun } from './tun.ts';
import { userNamespaces } from './user-namespaces.ts';

/** In the order in which they are shown: what a lab cannot do without comes first. */
const checks: readonly Check[] = [
  netd,
  runtimeDirectory,
  tun,
  userNamespaces,
  qemu,
  kvm,
  dnsmasq,
  pasta,
  ping,
  resolver,
  hostScope,
  hostNames,
  ipv6,
  firewalls,
  qemuImg,
  diskSpace,
];

/** Runs every check; one that breaks is a failed check, never an exception. */
export async function runChecks(): Promise<CheckResult[]> {
  return Promise.all(
    checks.map(async ({ id, title, look }) => {
      try {
        const { state, found, fixes } = await look();
        return { id, title, state, found, fixes };
      } catch (thrown) {
        return { id, title, ...failed(`This could not be looked at: ${words(thrown)}`) };
      }
    }),
  );
}
