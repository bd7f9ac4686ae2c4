// SPDX-License-Identifier: Apache-2.0
import { z } from '../../electron/contract/zod.ts';
import { type Finished, firstWords, type World } from './world.ts';

const Ports = z.record(z.string(), z.enum(['open', 'refused', 'prohibited']));
const Scan = z.strictObject({ tcp: Ports, udp: Ports });
export type Scan = z.infer<typeof Scan>;

/** The filter lets DHCP's and DNS's through in both families; where nobody listens the host says so. */
const passed = [53, 67, 547];

/** What a scan has printed. */
export function parseScan({ code, stdout, stderr }: Finished): Scan {
  if (code !== 0) throw new Error(`the scan exited ${code}: ${stderr}`);
  return Scan.parse(JSON.parse(stdout));
}

/** The ports that are open. */
export function open({ tcp, udp }: Scan): { tcp: number[]; udp: number[] } {
  const those = (ports: Scan['tcp']): number[] =>
    Object.keys(ports)
      .filter((port) => ports[port] === 'open')
      .map(Number);
  return { tcp: those(tcp), udp: those(udp) };
}

/** All that answered but what may say that it is closed. */
export function audible({ tcp, udp }: Scan): Scan {
  const those = (ports: Scan['tcp']): Scan['tcp'] =>
    Object.fromEntries(
      Object.entries(ports).filter(([port, how]) => how === 'open' || !passed.includes(Number(port))),
    );
  return { tcp: those(tcp), udp: those(udp) };
}

/** What the gateway's own addresses answer. */
export const dnsAlone = { tcp: { 53: 'open' }, udp: { 53: 'open' } };

/** Gives the host services on all its addresses, IPv4 and IPv6, TCP and UDP. */
export async function serveEverywhere(world: World, ports: readonly number[]): Promise<void> {
  const listen = `const dgram = require('node:dgram'), net = require('node:net');
    for (const port of ${JSON.stringify(ports)}) {
      net.createServer((socket) => socket.on('error', () => {}).end('hello')).listen(port);
      const udp = dgram.createSocket('udp6');
      udp.on('message', (_, from) => udp.send('hello', from.port, from.address)).bind(port);
    }
    console.log('listening');`;
  await firstWords(world.start([process.execPath, '-e', listen], { as: 'root' }), 'the services');
}
