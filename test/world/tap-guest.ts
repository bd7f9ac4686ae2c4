// SPDX-License-Identifier: Apache-2.0
import { read, writeSync } from 'node:fs';

/** What precedes a frame in a tap with IFF_VNET_HDR: nothing in it is wanted of us. */
const header = 10;
const arp = 0x0806;
const ipv4 = 0x0800;
const icmp = 1;

/**
 * Answers ARP requests and pings at a tap, as the kernel of a guest does, where a guest would take too long to
 * boot. `mac` and `address` are its own, as bytes.
 */
export function answerAt(tap: number, mac: Uint8Array, address: Uint8Array): void {
  const frame = Buffer.alloc(0x1_0000);
  const next = (): void =>
    read(tap, frame, 0, frame.length, null, (error, length) => {
      if (error?.code === 'EAGAIN') return void setTimeout(next, 1);
      if (error) throw error;
      const answer = answerTo(frame.subarray(header, length), mac, address);
      if (answer !== undefined) writeSync(tap, Buffer.concat([Buffer.alloc(header), answer]));
      next();
    });
  next();
}

function answerTo(frame: Buffer, mac: Uint8Array, address: Uint8Array): Buffer | undefined {
  const kind = frame.length < 42 ? 0 : frame.readUInt16BE(12);
  const answer = Buffer.from(frame);
  frame.copy(answer, 0, 6, 12);
  answer.set(mac, 6);
  if (kind === arp && frame[21] === 1 && frame.subarray(38, 42).equals(address)) {
    answer[21] = 2;
    frame.copy(answer, 32, 22, 32);
    answer.set(mac, 22);
    answer.set(address, 28);
    return answer;
  }
  const ping = 14 + ((frame[14] ?? 0) & 15) * 4;
  if (kind === ipv4 && frame[23] === icmp && frame[ping] === 8 && frame.subarray(30, 34).equals(address)) {
    frame.copy(answer, 26, 30, 34);
    frame.copy(answer, 30, 26, 30);
    answer[ping] = 0;
    // The sum of all words is as before where this one takes what the type has lost.
    const sum = frame.readUInt16BE(ping + 2) + 0x0800;
    answer.writeUInt16BE((sum & 0xffff) + (sum >> 16), ping + 2);
    return answer;
  }
  return undefined;
}
