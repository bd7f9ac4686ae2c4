// SPDX-License-Identifier: Apache-2.0
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ActRow } from '../../electron/contract/act.ts';
import { z } from '../../electron/contract/zod.ts';
import { NetdClient } from '../../electron/core/net/netd-client.ts';
import { until, World } from '../world/world.ts';

/* What netd did stands in `tapyard log`: who, what, and a command; beyond its end and the lab's. */

let world: World;
let file: string;
const definition = 'name: seed\nnetworks:\n  br0: { subnet: 192.168.57.0/24 }\n';
beforeAll(() => {
  world = World.create();
  file = world.file('tapyard.yaml', definition, 'root');
});
afterAll(() => world?.close());

const root = { as: 'root' } as const;

async function tapyard(...words: string[]): Promise<string> {
  const done = await world.tapyard(words, root);
  expect(done, done.stderr).toMatchObject({ code: 0 });
  return done.stdout;
}

const log = async (): Promise<ActRow[]> =>
  z.array(ActRow).parse(JSON.parse(await tapyard('log', 'seed', '--json')));

/** The log once it has an act that `wanted` fits. */
async function logWith(wanted: (act: ActRow) => boolean): Promise<ActRow[]> {
  let acts: ActRow[] = [];
  await until('the act is in the log', 20_000, async () => (acts = await log()).some(wanted));
  return acts;
}

test('the log of a lab in the host scope', { timeout: 180_000 }, async () => {
  await tapyard('up', file, '--scope', 'host');

  // Each command of an `up` is one of the recipe's own.
  const acts = await log();
  const recipe = await tapyard('recipe', '--shell', '--lab', 'seed');
  const commands = acts.flatMap(({ command }) => command?.split('\n') ?? []);
  expect(commands).toContain('ip link set br0 up');
  const elsewhere = commands.filter((line) => !recipe.includes(line));
  // dnsmasq keeps its files elsewhere, and of the filter's table the script writes all at once.
  expect(elsewhere.filter((line) => !/^ *(dnsmasq|--|nft (add|delete) element )/.test(line))).toEqual([]);
  expect(acts.find(({ what }) => what === 'made bridge br0')).toMatchObject({
    lab: 'seed',
    network: 'seed/br0',
    by: { uid: 0, user: 'root', client: 'core' },
    cause: null,
    error: null,
  });
  expect(acts.find(({ what }) => what === 'set up the filter of br0')?.command).toContain(
    'table inet tapyard_0',
  );
  expect(acts.map(({ order }) => order)).toEqual(acts.map((_, index) => index + 1));

  // The switch, in nft's own words; they do what they say.
  await tapyard('nat', 'br0', 'off', '--lab', 'seed');
  const isOff = ({ what }: ActRow): boolean => what === 'switched NAT of br0 off';
  const off = await logWith(isOff);
  expect(off.find(isOff)?.command).toBe(
    `nft add element inet tapyard_0 draining '{ "br0" timeout 250ms }'\nnft add element inet tapyard_0 nat_off '{ "br0" }'`,
  );
  await tapyard('nat', 'br0', 'on', '--lab', 'seed');

  // By itself, with the reason.
  await world.must(['nft', 'flush', 'ruleset'], root);
  const healed = await logWith(({ cause }) => cause === 'somebody changed the firewall');
  expect(healed.some(({ what, by }) => what === 'set up the filter of br0' && by === null)).toBe(true);

  // A refusal has its code, and what a client sent is text.
  const socket = join(world.runtimeDir('root'), 'tapyard/netd-host/netd.sock');
  const client = await NetdClient.connect(socket);
  await expect(client.request('set_nat', { lab: 'seed', network: 'br9', nat: true })).rejects.toThrow();
  await expect(
    client.request('set_nat', { lab: 'seed', network: '\u001b[31m', nat: true }),
  ).rejects.toThrow();
  client.close();
  const refused = await logWith(({ error }) => error?.code === 'BAD_ARGS');
  expect(refused.find(({ error }) => error?.code === 'NO_SUCH_NETWORK')).toMatchObject({
    what: 'refused set_nat',
    network: 'seed/br9',
    by: { client: 'core' },
  });
  expect(JSON.stringify(refused)).not.toContain('\\u001b');
  expect(await tapyard('log', 'seed')).not.toContain('\u001b');

  // One that is killed: the log goes on, and its successor says that it took over.
  const before = await log();
  for (const { pid, command } of world.processes())
    if (command.includes('tapyard-netd')) process.kill(pid, 'SIGKILL');
  const after = await logWith(({ what }) => what === 'took over br0 from a helper before this one');
  expect(after.slice(0, before.length)).toEqual(before);

  // The lab goes, its log does not.
  await tapyard('down', '--lab', 'seed');
  const ended = await log();
  expect(ended.slice(0, after.length)).toEqual(after);
  expect(ended.find(({ what }) => what === 'removed bridge br0')?.command).toBe('ip link del br0');
  const path = join(world.home('root'), '.local/state/tapyard/labs/seed/acts.jsonl');
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readFileSync(path, 'utf8').trim().split('\n')).toHaveLength(ended.length);
});

test('the log of a private lab, followed', { timeout: 120_000 }, async () => {
  const up = await world.tapyard(['up', world.file('tapyard.yaml', definition)]);
  expect(up, up.stderr).toMatchObject({ code: 0 });
  const following = world.start(world.tapyardCommand(['log', 'seed', '--follow']));
  let said = '';
  following.stdout?.setEncoding('utf8').on('data', (text: string) => (said += text));
  const ended = new Promise<number | null>((resolve) => following.once('close', resolve));
  const seen = (text: string): Promise<unknown> => until(`“${text}”`, 20_000, () => said.includes(text));
  await seen('made a network namespace of the lab’s own');
  await seen('started pasta');
  await seen('$ ip link add br0 ');
  const off = await world.tapyard(['nat', 'br0', 'off']);
  expect(off, off.stderr).toMatchObject({ code: 0 });
  await seen('switched NAT of br0 off\n    by tester (core, ');
  for (const line of said.split('\n').filter((text) => !text.startsWith('    ')))
    expect(line.length, line).toBeLessThanOrEqual(80);
  following.kill('SIGINT');
  expect(await ended).toBe(0);
  const down = await world.tapyard(['down', '--lab', 'seed']);
  expect(down, down.stderr).toMatchObject({ code: 0 });
  expect((await world.tapyard(['log', 'seed'])).stdout).toContain('ended the namespaces of the lab');
});
