// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { afterEach, expect, test } from 'vitest';
import { compile } from '../world/compile.ts';
import { keeperOf } from '../world/keeper.ts';
import { audible, dnsAlone, open, parseScan, type Scan, serveEverywhere } from '../world/scan.ts';
import { finish, type Finished, hostAddress, until, wanAddress, type Who, World } from '../world/world.ts';

/*
 * What a real guest finds of the computer that carries it, by its own packets through its own tap: every TCP and UDP
 * port of the gateway's addresses. Namespaces as guests, and what else is to be found: test/net/gateway-scan.test.ts.
 */

const services = [22, 80];
const subnet6 = 'fd12:3456:789a:1';
const nothing = { tcp: {}, udp: {} };

let world: World;
afterEach(() => world?.close());

/** A guest with a scanner, on a host with services at all its addresses. */
async function start(who: Who, scope: 'private' | 'host'): Promise<void> {
  world = World.create();
  await world.serveWan();
  await serveEverywhere(world, services);

  const network = `{ subnet: 192.168.57.0/24, ipv6: '${subnet6}::/64' }`;
  const guest = '{ image: micro, memory: 256M, cpus: 1, nics: [{ network: br0 }] }';
  const text = `name: seed\nnetworks: { br0: ${network} }\nguests: { guest: ${guest} }\n`;
  const file = world.file('tapyard.yaml', text, who);
  const up = await world.tapyard(['up', file, '--scope', scope], { as: who, timeout: 90_000 });
  expect(up, `${up.stdout}\n${up.stderr}`).toMatchObject({ code: 0 });
  await until('sshd answers', 60_000, async () => (await inGuest(who, 'true')).code === 0);
  const take = world.tapyardCommand(['ssh', 'guest', '--', 'cat >/tmp/scan; chmod +x /tmp/scan']);
  const sent = world.start(take, { as: who });
  sent.stdin?.write(readFileSync(compile(world, 'scan')));
  expect(await finish(sent, 'the scanner is sent')).toMatchObject({ code: 0 });
  await until('the guest has IPv6', 60_000, async () => {
    return (await inGuest(who, `ping -6 -c 1 -W 1 ${subnet6}::1`)).code === 0;
  });
}

const inGuest = (who: Who, command: string): Promise<Finished> =>
  world.tapyard(['ssh', 'guest', '--', command], { as: who, timeout: 150_000 });

const scan = async (who: Who, address: string, ports: string): Promise<Scan> =>
  parseScan(await inGuest(who, `/tmp/scan ${address} ${ports}`));

/** What answers at each of the addresses, of all ports. */
async function answers(who: Who, addresses: readonly string[]): Promise<Scan[]> {
  const scans = addresses.map((address, index) => `/tmp/scan ${address} >/tmp/${index} &`);
  const results = addresses.map((_, index) => `/tmp/${index}`);
  const done = await inGuest(who, `${scans.join(' ')} wait; cat ${results.join(' ')}`);
  return done.stdout.split('\n', addresses.length).map((stdout) => audible(parseScan({ ...done, stdout })));
}

test('of the private scope: DNS, and of the host what a neighbour sees', { timeout: 240_000 }, async () => {
  await start('user', 'private');
  const show = ['ip', '-6', '-br', 'addr', 'show', 'dev', 'br0', 'scope', 'link'];
  const inside = ['nsenter', '-t', String(keeperOf(world)), '-n', ...show];
  const shown = await world.must(inside, { as: 'root' });
  const link = `${/fe80:[0-9a-f:]+/.exec(shown)?.[0] ?? ''}%eth0`;
  const found = await answers('user', ['192.168.57.1', `${subnet6}::1`, link, '169.254.2.2']);
  expect(found).toEqual([dnsAlone, dnsAlone, dnsAlone, nothing]);
  // pasta may lose packets of so many connections at once.
  let seen: unknown;
  await until('the guest sees what the host shows to its neighbours', 30_000, async () => {
    seen = open(await scan('user', hostAddress, '1-100')).tcp;
    return isDeepStrictEqual(seen, services);
  }).catch((error: unknown) => {
    throw new Error(`found: ${JSON.stringify(seen)}`, { cause: error });
  });
});

test('of the host scope: DNS, and nothing at any address of the host', { timeout: 240_000 }, async () => {
  await start('root', 'host');
  // No packet is lost on the way: every port of the fake internet answers.
  const control = await scan('root', wanAddress, '1-500');
  expect(Object.keys(control.tcp)).toHaveLength(500);
  expect(open(control)).toEqual({ tcp: [80], udp: [53] });
  const found = await answers('root', ['192.168.57.1', `${subnet6}::1`, hostAddress]);
  expect(found).toEqual([dnsAlone, dnsAlone, nothing]);
});
