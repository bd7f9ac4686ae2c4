// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from '../../electron/contract/zod.ts';
import { kernelState } from '../world/kernel.ts';

import { checkout, ended, until, World } from '../world/world.ts';

/*
 * The recipe's script, run by sh, leaves what netd leaves, and starts the guests, whether the lab was up or down when
 * it was written. The differences are these, and no others:
 *
 * - tap0 is persistent (`info_data.persist`), because a script cannot hold a file descriptor; so until QEMU opens
 *   it there is no carrier: NO-CARRIER and LOWER_UP among the flags, linkdown on br0's routes, `operstate` DOWN, on tap0 and on br0, whose
 *   carrier is that of its ports, and the port's STP state follows (`state`).
 * - br0's IPv6 link-local address waits for that carrier before it is there at all, and its routes with it.
 * - The tap carries no owner (`info_data.user`), as QEMU is started by root in the script and by root here.
 * - Interface indices (`ifindex`, `link_index`, `port_id`, …) are counted up by the kernel.
 * - The addresses of the host's on an administrator's bridge, which no guest may have, are netd's to follow.
 * - A tap that QEMU holds has the offloads that QEMU chose (`gso_*`, `tso_*`, …): the guest's driver set them.
 */
const carrierFlags = new Set(['NO-CARRIER', 'LOWER_UP', 'linkdown']);
const dropped = new Set([
  'ifindex',
  'link_index',
  'carrier',
  'carrier_changes',
  'carrier_up_count',
  'carrier_down_count',
  'operstate',
  'state',
  'port_id',
  'no',
  'designated_port',
  'hello_timer',
  'persist',
  'user',
  'timer',
]);

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const followed = /("name":"host_(?:sources|targets)_br-lan".*),"elem":\[[^\]]*\]/;

function without(value: Json): Json {
  if (typeof value === 'string') return value.replace(followed, '$1');
  if (Array.isArray(value))
    return value.filter((item) => typeof item !== 'string' || !carrierFlags.has(item)).map(without);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !dropped.has(key) && !/^(gso|tso|gro)_/.test(key) && !key.endsWith('_timer'))
      .map(([key, inner]) => [key, without(inner)]),
  );
}

const isLinkLocal = (value: Json): boolean =>
  typeof value === 'object' && value !== null && /fe80:|ff00:/.test(JSON.stringify(value));

function comparable(state: Record<string, Json>): Record<string, Json> {
  const result: Record<string, Json> = {};
  for (const [key, value] of Object.entries(state)) {
    if (!Array.isArray(value)) throw new Error(`${key} is no list`);
    const list = value;
    const kept = key === 'routes' ? list.filter((route) => !isLinkLocal(route)) : list;
    result[key] = kept.map((item) => {
      const bare = without(item);
      if (
        bare === null ||
        typeof bare !== 'object' ||
        Array.isArray(bare) ||
        !Array.isArray(bare['addr_info'])
      )
        return bare;
      return { ...bare, addr_info: bare['addr_info'].filter((address) => !isLinkLocal(address)) };
    });
  }
  // In the order of their numbers, and netd gives its bridges numbers of its own.
  for (const key of ['links', 'addresses', 'routes']) result[key] = sorted(result[key]);
  return result;
}

const sorted = (list: Json = []): Json =>
  Array.isArray(list) ? list.toSorted((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b))) : list;

/** The same of a private lab: pasta gives its interface a MAC address at random. */
function privately(state: Record<string, Json>): Record<string, Json> {
  const links = Array.isArray(state['links']) ? state['links'] : [];
  const isUplink = (link: Json): link is { [key: string]: Json } =>
    typeof link === 'object' && link !== null && !Array.isArray(link) && link['ifname'] === 'up0';
  const known = links.map((link) => (isUplink(link) ? { ...link, address: null } : link));
  const addresses = Array.isArray(state['addresses']) ? state['addresses'] : [];
  return comparable({
    ...state,
    links: known,
    addresses: addresses.map((link) => (isUplink(link) ? { ...link, address: null } : link)),
  });
}

let world: World;
beforeAll(() => {
  world = World.create();
});
afterAll(() => world?.close());

/** The tutorial's lab, and one network of each other kind. */
const labs = {
  seed: readFileSync(path.join(checkout, 'assets/labs/seed.yaml'), 'utf8'),
  modes: `name: modes
networks:
  lan: { subnet: 10.20.0.0/24, mode: routed, ipv6: fd12:3456:789a:1::/64 }
  box: { subnet: 10.20.1.0/24, mode: isolated, ipv6: true }
  off: { subnet: 10.20.2.0/24, nat: false }
  out: { subnet: 10.20.3.0/24, dhcp: false, ipv6: true }
  wire: { mode: bridged, uplink: br-lan }
  bench: { mode: bridged, interface: spare }
  wifi: { subnet: 192.168.1.192/28, mode: routed, proxyArp: true, dhcp: { from: 192.168.1.196, to: 192.168.1.199 } }
`,
  own: `name: own
networks:
  net: { subnet: 10.20.4.0/24, ipv6: fd12:3456:789a:4::/64 }
  box: { subnet: 10.20.5.0/24, mode: isolated, ipv6: true }
  off: { subnet: 10.20.6.0/24, nat: false, dhcp: false }
`,
};

test('the script of a private lab says what it wants before it makes anything', async () => {
  const file = world.file(
    'early.yaml',
    labs.seed.replace('name: seed', 'name: early').replace(/guests:[^]*/, ''),
  );
  expect(await world.tapyard(['up', file])).toMatchObject({ code: 0 });
  const recipe = await world.tapyard(['recipe', '--shell', '--lab', 'early']);
  expect(await world.tapyard(['down', '--lab', 'early'])).toMatchObject({ code: 0 });
  const script = world.file('early.sh', recipe.stdout);
  const inside = `sh ${script}; echo "exit $?"; ip -br link show`;
  const { stdout, stderr } = await world.run(['unshare', '-Urn', 'sh', '-c', inside]);
  expect(stdout).toMatch(/^exit 1\n/);
  expect(stdout).not.toContain('br0');
  expect(stderr).toMatch(/There is no up0 here.*nothing was made[^]*pasta --config-net .* [0-9]+\n/);
});

/** The network namespace of a process, for {@link kernelState}. */
const within = (pid: number): string[] => ['nsenter', `--target=${pid}`, '--net', '--'];

test('the script of a private lab, run to its end by an ordinary user, leaves the namespace as netd does', async () => {
  const file = world.file('own.yaml', labs.own);
  expect(await world.tapyard(['up', file])).toMatchObject({ code: 0 });
  const record = `${world.runtimeDir('user')}/tapyard/labs/own/netd/anchor.json`;
  const { keeper } = z
    .object({ keeper: z.object({ pid: z.number().int().positive() }) })
    .parse(JSON.parse(readFileSync(record, 'utf8')));
  const byNetd = privately(await kernelState(world, within(keeper.pid)));
  const recipe = await world.tapyard(['recipe', '--shell', '--lab', 'own']);
  expect(recipe, recipe.stderr).toMatchObject({ code: 0 });
  expect(await world.tapyard(['down', '--lab', 'own'])).toMatchObject({ code: 0 });
  await until('the lab is gone', 10_000, () => world.processes().length === 0);

  // As the script says: a shell in a namespace of its own, and pasta for it from outside.
  const script = world.file('own.sh', recipe.stdout);
  const steps = `echo $$; read go; sh ${script}; echo "made $?"; read go; sh ${script} undo; echo "undone $?"; read go`;
  const shell = world.start(['unshare', '--user', '--map-root-user', '--net', 'sh', '-c', steps]);
  let [said, complained] = ['', ''];
  shell.stdout?.setEncoding('utf8').on('data', (text: string) => (said += text));
  shell.stderr?.setEncoding('utf8').on('data', (text: string) => (complained += text));
  const words = async (pattern: RegExp): Promise<string> =>
    until(`it says ${pattern.source} (${complained})`, 30_000, () => pattern.exec(said)?.[1]);
  const pid = Number(await words(/^(\d+)\n/));
  const pasta = /^# *(pasta --config-net .*) PID$/m.exec(recipe.stdout)?.[1] ?? '';
  const started = await world.run([...pasta.split(' '), String(pid)]);
  expect(started, started.stderr).toMatchObject({ code: 0 });
  const before = privately(await kernelState(world, within(pid)));

  shell.stdin?.write('go\n');
  expect(await words(/^made (\d+)$/m), complained).toBe('0');
  const byHand = privately(await kernelState(world, within(pid)));
  expect(byHand).toEqual(byNetd);
  expect(JSON.stringify(byHand)).toContain('10.20.4.1');
  expect(JSON.stringify(byHand)).toContain('masquerade');

  shell.stdin?.write('go\n');
  expect(await words(/^undone (\d+)$/m), complained).toBe('0');
  expect(privately(await kernelState(world, within(pid)))).toEqual(before);
  shell.stdin?.write('go\n');
  await ended(shell, 'the shell');
  // pasta stays when its namespace is gone (pasta(1)), until whoever started it ends it.
  for (const { pid: left, command } of world.processes())
    if (command.startsWith('pasta ')) process.kill(left, 'SIGTERM');
  await until('pasta and dnsmasq are gone', 10_000, () => world.processes().length === 0);
});

/** The kernel gives an interface its link-local address a moment after IPv6 is on. */
const isAgain = async (before: Record<string, Json>): Promise<void> => {
  await expect.poll(() => kernelState(world), { timeout: 20_000 }).toEqual(before);
};

test.each([
  ['seed', '192.168.57.1', '192.168.57.2'],
  ['modes', '10.20.1.1', null],
] as const)(
  'recipe --shell of %s, run by sh, leaves the kernel as netd does',
  async (name, address, guest) => {
    const file = world.file(`${name}.yaml`, labs[name], 'root');
    const host = `ip link show br-lan || ip link add br-lan type bridge; ip link set br-lan up
      ip addr replace 192.168.1.50/24 dev eth0
      ip link show spare || ip link add spare type veth peer name cable
      sysctl -qw net.ipv6.conf.cable.disable_ipv6=1 net.ipv6.conf.spare.accept_dad=0
      ip link set cable up; ip link set spare up
      timeout 20 sh -c 'until ip -6 addr show dev spare | grep -q fe80; do sleep 0.05; done'`;
    expect(await world.run(['sh', '-c', host], { as: 'root' })).toMatchObject({ code: 0 });
    const before = await kernelState(world);

    const up = await world.tapyard(['up', file, '--scope', 'host'], { as: 'root', timeout: 90_000 });
    expect(up, up.stderr).toMatchObject({ code: 0 });
    const byNetd = comparable(await kernelState(world));
    const recipe = await world.tapyard(['recipe', '--shell'], { as: 'root' });
    expect(recipe, recipe.stderr).toMatchObject({ code: 0 });
    expect(await world.tapyard(['down', '--force'], { as: 'root' })).toMatchObject({ code: 0 });
    await isAgain(before);
    // Whether it is up or down: QEMU's lines are the ones that run, or that would.
    const down = await world.tapyard(['recipe', '--shell', '--lab', name], { as: 'root' });
    expect(down.stdout).toBe(recipe.stdout);

    const script = world.file('recipe.sh', recipe.stdout, 'root');
    const made = await world.run(['sh', script], { as: 'root' });
    expect(made, made.stderr).toMatchObject({ code: 0 });
    const byHand = comparable(await kernelState(world));
    expect(byHand).toEqual(byNetd);
    expect(JSON.stringify(byHand)).toContain(address);
    expect(JSON.stringify(byHand)).toContain('masquerade');

    const undo = async (): Promise<void> => {
      const undone = await world.run(['sh', script, 'undo'], { as: 'root' });
      expect(undone, undone.stderr).toMatchObject({ code: 0 });
      await until('what it started is gone', 10_000, () => world.processes().length === 0);
      await isAgain(before);
    };
    await undo();
    if (guest === null) return;

    const said = path.join(world.dir, 'said');
    const started = await world.run(['sh', '-c', `sh ${script} guests > ${said} 2>&1`], { as: 'root' });
    expect(started, readFileSync(said, 'utf8')).toMatchObject({ code: 0 });
    const ping = ['busybox', 'ping', '-c1', '-W1', guest];
    await until('the guest answers', 60_000, async () => (await world.run(ping, { as: 'root' })).code === 0);
    world.processes().forEach(({ pid, command }) => {
      if (command.includes('qemu-system')) process.kill(pid);
    });
    await undo();
  },
  180_000,
);
