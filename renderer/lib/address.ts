// SPDX-License-Identifier: Apache-2.0

/** Whether an address (with or without prefix) is IPv6 link-local, fe80::/10 (RFC 4291, 2.5.6): every interface has one, and it says nothing. */
export function isLinkLocal(address: string): boolean {
  return /^fe[89ab][0-9a-f]:/i.test(address);
}
