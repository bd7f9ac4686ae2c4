// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Debian13 } from '../world/debian-13.ts';
import { besideFirewalld } from '../world/firewalld-place.ts';
import { HostLab, type PortGuest } from '../world/host-lab.ts';
import { until, World } from '../world/world.ts';

/*
 * A lab in the host scope beside the real firewalld of Debian 13, the one of 2.x that Fedora and RHEL have too: it
 * may own its table, so that nobody else changes a rule there.
 */

let world: World;
let debian: Debian13;
let lab: HostLab;
let guest: PortGuest | undefined;

beforeEach(async () => {
  world = World.create();
  await world.serveWan();
  debian = await Debian13.start(world);
  await debian.bus();
  lab = await HostLab.start(world, debian.beside);
  guest = undefined;
});
afterEach(() => world?.close());

const ipv6 = 'fd12:3456:789a:1::/64';

async function getsThrough(): Promise<void> {
  await guest?.getsThrough();
  await guest?.getsThroughByIpv6();
  await lab.isReached();
}

async function up(): Promise<void> {
  await lab.up({ ipv6 });
  if (guest === undefined) {
    guest = await lab.guest('192.168.57.50');
    await guest.serve(8080);
  } else await guest.plug();
  await lab.letIn('192.168.57.50');
  await getsThrough();
}

/** A line of firewalld's configuration. */
const set = (key: string, value: string): string =>
  `sed -i 's/^${key}=.*/${key}=${value}/' /etc/firewalld/firewalld.conf`;

test.each([
  ['as the distribution has it', 'libvirt', true, ''],
  [
    'not the owner of its table, dropping by default, without libvirt',
    'trusted',
    false,
    `${set('NftablesTableOwner', 'no')}; ${set('DefaultZone', 'drop')}
     rm /usr/lib/firewalld/*/libvirt*`,
  ],
])(
  'firewalld %s: reload, and restart',
  async (_, zone, owns, before) => {
    await lab.hasIpv6();
    await debian.sh(before);
    await besideFirewalld({ place: debian, lab, up, getsThrough }, zone, async () => {
      expect(await debian.sh('firewall-cmd --version')).toMatch(/^2\./);
      const table = await debian.sh('nft list table inet firewalld');
      expect(/flags .*owner/.test(table)).toBe(owns);
    });
  },
  240_000,
);

test('firewalld that is to lead nothing to guests but its own: they get out, and what lets them in is told', async () => {
  await debian.sh(set('StrictForwardPorts', 'yes'));
  const stop = await debian.firewalld();
  await lab.up();
  guest = await lab.guest('192.168.57.50');
  await guest.getsThrough();
  expect(await lab.openDoors()).toEqual(['firewalld: zone libvirt']);
  await guest.serve(8080);
  await lab.letIn('192.168.57.50');
  const shut = await until('netd says that it is shut', 20_000, async () =>
    (await lab.network())?.doors?.find(({ state }) => state === 'shut'),
  );
  expect(shut).toMatchObject({ chain: 'inet firewalld filter_FORWARD', firewall: 'firewalld' });
  await guest.getsThrough();
  await debian.sh(shut.command ?? 'false');
  await lab.isReached();
  await guest.getsThrough();
  expect(await lab.openDoors()).toEqual(['firewalld: zone libvirt']);
  await lab.down();
  await stop();
});
