// SPDX-License-Identifier: Apache-2.0
import { z } from './zod.ts';

/*
 * Names are checked for length before anything else (CVE-2019-13164: a name that the kernel truncated
 * after the policy had approved the long form). The same rules stand in docs/netd-protocol.md.
 */

/** A lab's name: a DNS label of at most 32 characters. */
export const LabName = z
  .string()
  .min(1, 'a name is needed')
  .max(32, 'a lab name has at most 32 characters')
  .regex(/^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/, 'lower-case letters, digits and hyphens, not at the ends');

/** A guest's name, which is its host name: a DNS label (RFC 1123, at most 63 octets). */
export const GuestName = z
  .string()
  .min(1, 'a name is needed')
  .max(63, 'a guest name is a host name and has at most 63 characters')
  .regex(/^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/, 'lower-case letters, digits and hyphens, not at the ends');

const reservedInterfaceNames = new Set(['.', '..', 'all', 'default', 'lo']);

/** A network's name, which is its bridge's interface name (IFNAMSIZ: at most 15 bytes). */
export const NetworkName = z
  .string()
  .min(1, 'a name is needed')
  .max(15, 'a network is a bridge, and an interface name has at most 15 characters')
  .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/, 'letters, digits, "_", "." and "-", not beginning with "." or "-"')
  .refine((name) => !reservedInterfaceNames.has(name), 'the kernel keeps this name for itself');

/** A MAC address under QEMU's prefix 52:54:00, lower case. */
export const MacAddress = z
  .string()
  .regex(
    /^52:54:00(?::[0-9a-f]{2}){3}$/,
    'a MAC address such as 52:54:00:a1:3f:02 (prefix 52:54:00, lower case)',
  );

const octet = '(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])';

/** An IPv4 address in dotted decimal without leading zeros. */
export const Ipv4 = z
  .string()
  .regex(new RegExp(`^(?:${octet}\\.){3}${octet}$`), 'an IPv4 address such as 192.168.57.2');

/** An IPv4 CIDR such as `192.168.57.0/24`; that its host bits are zero is checked with the lab. */
export const Ipv4Cidr = z
  .string()
  .regex(
    new RegExp(`^(?:${octet}\\.){3}${octet}/(?:[89]|[12][0-9]|30)$`),
    'a subnet such as 192.168.57.0/24 (prefix 8 to 30)',
  );

/** A /64 of unique local addresses (RFC 4193), in the one way that it is written (RFC 5952). */
export const Ipv6Subnet = z
  .string()
  .regex(
    /^fd[0-9a-f]{2}(?::(?:0|[1-9a-f][0-9a-f]{0,3})){3}::\/64$/,
    'a subnet such as fd12:3456:789a:1::/64 (within fd00::/8, prefix 64, four groups without leading zeros)',
  );

/** Whether the lab's network lives in a namespace of its own or on this computer (DESIGN: scopes). */
export const Scope = z.enum(['private', 'host']);
export type Scope = z.infer<typeof Scope>;
