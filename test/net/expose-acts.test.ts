// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from '../../electron/contract/zod.ts';
import type { NetdExposure } from '../../electron/core/net/netd-protocol.ts';
import { HostLab, type PortGuest } from '../world/host-lab.ts';
import { hostAddress, until, wanAddress, World } from '../world/world.ts';

/* What netd's log says to type for a port of the host's does what netd did: the kernel holds the same after it. */

let world: World;
let lab: HostLab;
let guest: PortGuest;
beforeAll(async () => {
  world = World.create();
  lab = await HostLab.start(world);
  await lab.up();
  guest = await lab.guest('192.168.57.50');
  await guest.serve(80);
});
afterAll(() => world?.close());

const tcp: NetdExposure = {
  address: hostAddress,
  protocol: 'tcp',
  port: 8080,
  to: '192.168.57.50',
  to_port: 80,
};
const udp: NetdExposure = { ...tcp, address: '0.0.0.0', protocol: 'udp', port: 5353 };

const Listed = z.object({ nftables: z.array(z.looseObject({ map: z.looseObject({}).optional() })) });

/** The map of ports as the kernel has it, without the number that each new one gets. */
async function exposed(): Promise<unknown> {
  const text = await lab.host('nft -j list map inet tapyard_0 exposed');
  const map = Listed.parse(JSON.parse(text)).nftables.find((each) => each.map !== undefined)?.map;
  return { ...map, handle: 0 };
}

/** Does something with netd; what the log says to type for it, and what the kernel holds then. */
async function logged(work: () => Promise<unknown>): Promise<{ commands: string[]; holds: unknown }> {
  const { acts: before } = await lab.client.request('acts', {});
  await work();
  const { acts } = await lab.client.request('acts', {});
  const fresh = acts.filter(({ seq, by }) => seq > (before.at(-1)?.seq ?? 0) && 'client' in by);
  for (const act of fresh) expect(act).toMatchObject({ lab: 'seed', network: 'br0', error: null });
  return { commands: fresh.flatMap(({ command }) => command ?? []), holds: await exposed() };
}

/** Those that came by the port and were sent on to the guest. */
const connections = async (): Promise<string> => {
  const all = await lab.host('conntrack -L -p tcp --orig-port-dst 8080 2>/dev/null');
  return all
    .split('\n')
    .filter((line) => line.includes(`src=${tcp.to} `))
    .join('\n');
};

/** A connection of the LAN's to the port, which stays. */
async function connect(): Promise<void> {
  const script = `const s = require('node:net').connect(8080, '${hostAddress}');
    s.on('data', () => console.log('in')); s.on('error', () => {}); setInterval(() => {}, 1000)`;
  const client = world.start([process.execPath, '-e', script], { as: 'root', in: 'wan1' });
  await new Promise((resolve) => client.stdout?.once('data', resolve));
  expect(await connections()).toContain(`src=${wanAddress}`);
}

test('the commands for ports that come and go', { timeout: 60_000 }, async () => {
  const empty = await exposed();
  const request = lab.client.request.bind(lab.client);
  const opened = await logged(() => request('expose', { lab: 'seed', exposure: tcp }));
  const both = await logged(() => request('expose', { lab: 'seed', exposure: udp }));
  await connect();
  const { address, protocol, port } = tcp;
  const closed = await logged(() => request('unexpose', { lab: 'seed', address, protocol, port }));
  expect(await connections()).toBe('');
  expect(opened.commands).toEqual([
    `nft add element inet tapyard_0 exposed '{ ${hostAddress} . tcp . 8080 : 192.168.57.50 . 80 }'`,
  ]);
  expect(closed.commands[1]).toBe(`conntrack -D -p tcp --orig-dst ${hostAddress} --orig-port-dst 8080`);

  // Nobody mends what is typed now.
  const netd = world.processes().find(({ command }) => /tapyard-netd --scope/.test(command));
  if (!netd) throw new Error('netd does not run');
  process.kill(netd.pid, 'SIGKILL');
  await until('netd is gone', 10_000, () => !world.processes().some(({ pid }) => pid === netd.pid));
  await lab.host('nft flush map inet tapyard_0 exposed');
  expect(await exposed()).toEqual(empty);
  for (const { commands, holds } of [opened, both, closed]) {
    if (holds === closed.holds) await connect();
    for (const command of commands) await lab.host(command);
    expect(await exposed()).toEqual(holds);
  }
  expect(await connections()).toBe('');
});
