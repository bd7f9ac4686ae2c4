// SPDX-License-Identifier: Apache-2.0

/** The name servers of resolv.conf(5) text. */
export function nameServers(text: string): string[] {
  return [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].flatMap((match) => match[1] ?? []);
}
