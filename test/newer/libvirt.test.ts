// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Debian13 } from '../world/debian-13.ts';
import { HostLab, PortGuest } from '../world/host-lab.ts';
import { nftRules } from '../world/kernel.ts';
import { libvirtRules, libvirtTables } from '../world/libvirt-rules.ts';
import { until, World } from '../world/world.ts';

/*
 * A lab in the host scope beside the real libvirt of Debian 13, whose networks have the nftables back end that
 * Debian 12's does not know: guests of both get out, and what is libvirt's is as it was when the lab is down.
 */

let world: World;
let debian: Debian13;
let lab: HostLab;
let ours: PortGuest;
let theirs: PortGuest;
let stop: () => Promise<void>;

beforeAll(async () => {
  world = World.create();
  await world.serveWan();
  debian = await Debian13.start(world);
  stop = await debian.libvirt();
  await debian.sh(`cat > /tmp/rival.xml <<'END'
<network><name>rival</name><bridge name='virbr7' stp='off' delay='0'/><forward mode='nat'/>
  <ip address='192.168.58.1' netmask='255.255.255.0'/></network>
END`);
  await debian.virsh('net-define /tmp/rival.xml');
  await debian.virsh('net-start rival');
  theirs = await PortGuest.start(world, '192.168.58.60', (command) => [...command], 'virbr7');
  lab = await HostLab.start(world);
});
afterAll(() => world?.close());

const withoutTables = libvirtTables.map((table) => `delete table ${table}`).join('\n');

/** libvirtd, which may have been stopped, starts without any rule and makes those of its networks. */
async function anew(): Promise<void> {
  await stop();
  await debian.sh(`nft '${withoutTables}'`);
  stop = await debian.libvirt();
}

async function theirsGetsOut(): Promise<void> {
  await until('libvirt’s guest gets out', 30_000, async () =>
    Object.values(await theirs.reaches()).every(Boolean),
  );
}

async function bothGetThrough(): Promise<void> {
  await ours.getsThrough();
  await lab.isReached();
  await theirsGetsOut();
}

test('its rules are those that the tests have a copy of', async () => {
  expect(await debian.sh('libvirtd --version')).toMatch(/ 1[1-9]\./);
  expect(await debian.sh('nft list tables')).toBe(libvirtTables.map((table) => `table ${table}\n`).join(''));
  const real = await nftRules(world);
  const copy = libvirtRules('virbr7', '192.168.58.0/24');
  world.file('copy.nft', `${withoutTables}\n${copy}`, 'root');
  await lab.host(`nft -f ${world.home('root')}/copy.nft`);
  expect(await nftRules(world)).toEqual(real);
  await anew();
  expect(await nftRules(world)).toEqual(real);
});

test('guests of both get out, whatever libvirt starts, ends and loads again, and its rules stay its own', async () => {
  await theirsGetsOut();
  const rules = await nftRules(world);
  await lab.up();
  // What it rejects is for its own bridges.
  expect(await lab.openDoors()).toEqual([]);
  ours = await lab.guest('192.168.57.50');
  await ours.serve(8080);
  await lab.letIn('192.168.57.50');
  await bothGetThrough();
  // Neither lets the other's guests in.
  expect(Object.values(await theirs.reaches('192.168.57.50'))).not.toContain(true);
  expect(Object.values(await ours.reaches('192.168.58.60'))).not.toContain(true);

  await debian.virsh('net-destroy rival');
  await ours.getsThrough();
  await lab.isReached();
  await debian.virsh('net-start rival');
  await theirs.plug();
  await bothGetThrough();

  await stop();
  await bothGetThrough();
  await anew();
  await bothGetThrough();

  await lab.down();
  await theirsGetsOut();
  expect(await nftRules(world)).toEqual(rules);
}, 180_000);

test('it is started while a lab is up, and ends', async () => {
  await debian.virsh('net-destroy rival');
  await stop();
  await debian.sh('nft flush ruleset; echo 0 > /proc/sys/net/ipv4/ip_forward');
  await lab.up();
  await ours.plug();
  await lab.letIn('192.168.57.50');
  await ours.getsThrough();
  stop = await debian.libvirt();
  await debian.virsh('net-start rival');
  await theirs.plug();
  await bothGetThrough();
  await lab.down();
  await theirsGetsOut();
  await debian.virsh('net-destroy rival');
  await debian.virsh('net-undefine rival');
  await stop();
  expect(await debian.sh('nft list ruleset; ip -d link')).not.toContain('tapyard');
});
