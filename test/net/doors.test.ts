// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { HostLab, type PortGuest } from '../world/host-lab.ts';
import { hostAddress, until, wanAddress, World } from '../world/world.ts';

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
  await world.serveWan();
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

/** The first line that a service says, seen from wan1. */
async function ask(address: string, port: number): Promise<string> {
  const script = `timeout 3 nc -w 2 ${address} ${port} </dev/null | head -n 1`;
  return (await world.run(['sh', '-c', script], { as: 'root', in: 'wan1' })).stdout.trim();
}

const addressOf = (guestOf: number): string => `192.168.57.${guestOf}`;

test('a port that leads to a guest, behind a chain that lets guests out and nobody in', async () => {
  const chain = `
  table inet strict { chain forward { type filter hook forward priority 10; policy drop;
    ct state established,related accept; iifname "br0" accept; }
  }`;
  await load(chain);
  const before = await listing();
  expect((await lab.up()).doors).toEqual([]);
  await guest.plug();
  await guest.serve(8080);
  await lab.letIn(addressOf(50));
  expect((await lab.network())?.doors).toMatchObject([{ chain: 'inet strict forward', state: 'open' }]);
  expect(await ask(hostAddress, 8000)).toBe(`you are ${wanAddress}`);
  await load(`delete table inet strict ${chain}`);
  await until('it is let in again', 10_000, async () => (await ask(hostAddress, 8000)) !== '');
  await lab.down();
  expect(await listing()).toBe(before);
});

test('guests of a routed network are reached from the LAN', async () => {
  await load(ruleset('inet'));
  await lab.up({ mode: 'routed', nat: false });
  await guest.plug();
  await guest.serve(8081);
  await world.must(['ip', 'route', 'replace', '192.168.57.0/24', 'via', hostAddress], {
    as: 'root',
    in: 'wan1',
  });
  expect(await ask(addressOf(50), 8081)).toBe(`you are ${wanAddress}`);
});

test.each(['nat', 'isolated'] as const)('guests of a network of mode %s reach one another', async (mode) => {
  // Where br_netfilter is, what passes between two ports of a bridge passes these chains.
  await lab.host('[ ! -e /proc/sys/net/bridge ] || sysctl -qw net.bridge.bridge-nf-call-iptables=1');
  await load(ruleset('ip'));
  await lab.up({ mode, nat: mode === 'nat' });
  await guest.plug();
  const other = await lab.guest(addressOf(mode === 'nat' ? 52 : 53));
  await other.serve(80);
  const said = await guest.run(
    `timeout 3 nc -w 2 ${addressOf(mode === 'nat' ? 52 : 53)} 80 </dev/null | head -n 1`,
  );
  expect(said.stdout).toBe(`you are ${addressOf(50)}\n`);
});

test.each(['ip6', 'inet'])('IPv6 past chains of the family %s', async (family) => {
  await lab.hasIpv6();
  await load(`table ${family} strict {
    chain forward { type filter hook forward priority 10; policy drop; ct state established,related accept; }
    chain input { type filter hook input priority 0; policy drop; iif lo accept; iifname "eth0" accept
      ct state established,related accept; }
  }`);
  const before = await listing();
  const { doors } = await lab.up({ ipv6: 'fd12:3456:789a:1::/64' });
  expect(doors.map(({ chain, state }) => ({ chain, state }))).toEqual([
    { chain: `${family} strict forward`, state: 'open' },
    { chain: `${family} strict input`, state: 'open' },
  ]);
  await guest.plug();
  await guest.getsThroughByIpv6();
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

test('the change itself wakes netd, which otherwise sleeps', async () => {
  await load(ruleset('inet'));
  await lab.up();
  const { pid } = lab.client.hello;
  const wakes = (): string =>
    /^voluntary_ctxt_switches:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '';
  await until('netd sleeps for a second', 30_000, async () => {
    const before = wakes();
    await delay(1000);
    return before !== '' && wakes() === before;
  });
  const begun = performance.now();
  await load(`delete table inet strict ${ruleset('inet')}`);
  const loaded = performance.now();
  await until('the door is back', 10_000, async () => (await listing()).includes('tapyard:0:seed:br0'));
  const took = performance.now() - begun;
  console.log(
    `the door was open again ${took.toFixed(0)} ms after nft was started to load the rules, which took ${(loaded - begun).toFixed(0)} ms`,
  );
  expect(took).toBeLessThan(10_000);
});
