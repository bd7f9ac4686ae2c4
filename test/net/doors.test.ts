// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { HostLab, type PortGuest } from '../world/host-lab.ts';
import { checkoutInside, until, World } from '../world/world.ts';

/*
 * A host whose own nft rules drop what is forwarded and what comes in: netd lets its guests through, and when
 * the network goes the rules are as they were. The firewalls that come in packages: doors-firewalls.test.ts.
 */

let world: World;
let lab: HostLab;
let guest: PortGuest;

const ruleset = (family: string): string => `
  table ${family} strict {
    chain forward { type filter hook forward priority 10; policy drop; ct state established,related accept; }
    chain input { type filter hook input priority 0; policy drop; iif lo accept; ct state established,related accept
      ip protocol icmp accept; }
  }`;
const listing = (): Promise<string> => lab.host('nft -s list ruleset');

beforeAll(async () => {
  world = World.create();
  const wan = world.start([process.execPath, `${checkoutInside}/test/world/wan.mjs`], {
    as: 'root',
    in: 'wan1',
  });
  await new Promise((resolve) => wan.stdout?.once('data', resolve));
  lab = await HostLab.start(world);
  await lab.up();
  guest = await lab.guest('192.168.57.50');
  await guest.getsThrough();
});
afterAll(() => world?.close());
beforeEach(async () => {
  await lab.down();
  await lab.host('nft flush ruleset');
});

async function load(rules: string): Promise<void> {
  world.file('rules.nft', rules, 'root');
  await lab.host(`nft -f ${world.home('root')}/rules.nft`);
}

test.each(['ip', 'inet'])('chains of the family %s that drop by policy', async (family) => {
  await load(ruleset(family));
  const before = await listing();
  const { doors } = await lab.up();
  expect(doors.map(({ chain, firewall, state }) => ({ chain, firewall, state }))).toEqual([
    { chain: `${family} strict forward`, firewall: 'nftables', state: 'open' },
    { chain: `${family} strict input`, firewall: 'nftables', state: 'open' },
  ]);
  await guest.plug();
  await guest.getsThrough();
  await lab.down();
  expect(await listing()).toBe(before);
});

test('a rule set that is loaded again is let through again, without being asked', async () => {
  await load(ruleset('inet'));
  await lab.up();
  await guest.plug();
  await guest.getsThrough();
  for (let round = 0; round < 2; round += 1) {
    await load(`delete table inet strict ${ruleset('inet')}`);
    await until('the door is back', 5000, async () => (await listing()).includes('tapyard:0:seed:br0'));
    await guest.getsThrough();
  }
  await load('insert rule inet strict forward iifname "br0" drop');
  await guest.getsThrough();
});

test('what somebody drops on purpose stays dropped, and a chain that lets all through is left alone', async () => {
  await load(`table inet mine {
    set banned { type ipv4_addr; elements = { 203.0.113.9 } }
    chain forward { type filter hook forward priority 0; policy accept; ip daddr @banned drop; tcp dport 25 reject
      iifname "virbr0" oifname "eth0" drop; }
    chain output { type filter hook output priority 0; policy accept; }
  }`);
  const before = await listing();
  const { doors } = await lab.up();
  expect(doors).toEqual([]);
  expect(await listing()).toContain(before.trim());
});
