// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from '../../electron/contract/zod.ts';
import { until, type Who, World } from '../world/world.ts';

/* A lab whose file says no subnet, on a computer where others take addresses meanwhile. */

let world: World;
beforeAll(() => {
  world = World.create();
});
afterAll(() => world?.close());

const Topology = z.looseObject({
  networks: z
    .tuple([
      z.looseObject({
        wanted: z.looseObject({ subnet: z.string() }),
        observed: z.looseObject({ addresses: z.array(z.string()) }).nullable(),
        reason: z.looseObject({ code: z.string(), message: z.string() }).nullable(),
      }),
    ])
    .rest(z.never()),
});

type Network = z.infer<typeof Topology>['networks'][0];

async function network(as: Who = 'root'): Promise<Network> {
  const shown = await world.tapyard(['topology', '--json'], { as });
  return Topology.parse(JSON.parse(shown.stdout)).networks[0];
}

const up = async (file: string): Promise<void> =>
  expect(await world.tapyard(['up', file, '--scope', 'host'], { as: 'root' })).toMatchObject({ code: 0 });
const down = async (): Promise<void> =>
  expect(await world.tapyard(['down', '--force'], { as: 'root' })).toMatchObject({ code: 0 });

test('a chosen subnet stays, moves only where somebody has it at an up, and an overlap is told', async () => {
  const file = world.file('tapyard.yaml', 'name: open\nnetworks: { br0: {} }\n', 'root');
  await up(file);
  const first = await network();
  const { subnet } = first.wanted;
  expect(first.observed?.addresses).toContain(subnet.replace('.0/24', '.1/24'));
  expect(first.reason).toBeNull();
  await down();
  await up(file);
  expect((await network()).wanted.subnet).toBe(subnet);

  // Up, it is not moved: what overlaps is named.
  const taken = subnet.replace('.0/24', '.200/25');
  const vpn = `ip link add vpn9 up type veth peer name far9; ip link set far9 up; ip addr add ${taken} dev vpn9`;
  await world.must(['sh', '-c', vpn], { as: 'root' });
  const told = await until('the overlap is told', 10_000, async () => {
    const now = await network();
    return now.reason?.code === 'SUBNET_OVERLAP' && now;
  });
  expect(told.wanted.subnet).toBe(subnet);
  expect(told.reason?.message).toContain('vpn9');

  await down();
  await up(file);
  const moved = await network();
  expect(moved.wanted.subnet).not.toBe(subnet);
  expect(moved.reason).toBeNull();
  await down();
});

test('in the private scope an overlap with what comes to this computer is told, and when it is over', async () => {
  const subnets = "subnet: 192.168.57.0/24, ipv6: 'fd12:3456:789a:1::/64'";
  const file = world.file('tapyard.yaml', `name: seed\nnetworks: { br0: { ${subnets} } }\n`);
  expect(await world.tapyard(['up', file])).toMatchObject({ code: 0 });
  expect((await network('user')).reason).toBeNull();
  const host = (command: string): Promise<string> => world.must(['sh', '-ec', command], { as: 'root' });
  const told = (what: string, is: (reason: Network['reason']) => boolean): Promise<unknown> =>
    until(what, 20_000, async () => is((await network('user')).reason));

  // A VPN that has the range by a route alone.
  await host('ip link add vpn8 up type veth peer name far8; ip link set far8 up');
  for (const route of ['192.168.57.128/25', 'fd12:3456:789a:1::/64']) {
    await host(`ip route add ${route} dev vpn8`);
    await told(`the overlap with ${route} is told`, (reason) => {
      return reason?.code === 'SUBNET_OVERLAP' && reason.message.includes(`${route} of vpn8`);
    });
    await host(`ip route del ${route} dev vpn8`);
    await told('it is over', (reason) => reason === null);
  }
  await host('ip addr add 192.168.57.9/24 dev vpn8');
  await told('the overlap with an address is told', (reason) => {
    return reason?.message.includes('192.168.57.0/24 of vpn8') === true;
  });
  await host('ip link del vpn8');
  await told('it is over', (reason) => reason === null);
  expect(await world.tapyard(['down', '--force'])).toMatchObject({ code: 0 });
});
