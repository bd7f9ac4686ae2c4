// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { endianness } from 'node:os';

/** One end of an IPv4 connection. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** TCP_ESTABLISHED of the kernel's tcp_states.h. A socket in TIME_WAIT shows uid 0, whoever had it. */
const established = '01';

/** `127.0.0.1:80` as /proc/net/tcp has it: the address as 32-bit word in host order, hex (proc(5)). */
function hexEndpoint({ address, port }: Endpoint): string {
  const bytes = address.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
  if (endianness() === 'LE') bytes.reverse();
  return `${bytes.join('')}:${port.toString(16).padStart(4, '0')}`.toUpperCase();
}

/** The prefix of an IPv4 address in an IPv6 socket (::ffff:a.b.c.d), as /proc/net/tcp6 has it. */
const mappedPrefix = `0000000000000000${endianness() === 'LE' ? 'FFFF0000' : '0000FFFF'}`;

/**
 * The uid that owns the socket at `peer` which is connected to `own`, as a table of /proc/net/tcp or tcp6 says;
 * undefined when it does not hold that socket.
 */
export function ownerOf(table: string, peer: Endpoint, own: Endpoint): number | undefined {
  const wanted = [hexEndpoint(peer), hexEndpoint(own)];
  for (const line of table.split('\n').slice(1)) {
    const fields = line.trim().split(/\s+/);
    const ends = fields.slice(1, 3).map((end) => (end.startsWith(mappedPrefix) ? end.slice(24) : end));
    if (ends[0] !== wanted[0] || ends[1] !== wanted[1] || fields[3] !== established) continue;
    return /^\d{1,10}$/.test(fields[7] ?? '') ? Number(fields[7]) : undefined;
  }
  return undefined;
}

/**
 * The uid of the process on the other end of a TCP connection on loopback. Loopback keeps no other user of
 * this computer out; the kernel's own table does. undefined when it cannot be told.
 */
export function peerUid(peer: Endpoint, own: Endpoint): number | undefined {
  for (const path of ['/proc/net/tcp', '/proc/net/tcp6']) {
    let table: string;
    try {
      table = readFileSync(path, 'utf8');
    } catch {
      continue;
    }
    const uid = ownerOf(table, peer, own);
    if (uid !== undefined) return uid;
  }
  return undefined;
}
