// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Connection, TableChange } from '../../electron/contract/client.ts';
import { connect } from '../../electron/contract/connect.ts';
import type { LabRow, NetworkRow } from '../../electron/contract/rows.ts';
import { z } from '../../electron/contract/zod.ts';
import { connectSocket } from '../../electron/core/host/socket-channel.ts';
import { kernelState } from '../world/kernel.ts';
import { until, type Who, World } from '../world/world.ts';

const Links = z.array(
  z.looseObject({
    ifname: z.string(),
    mtu: z.number(),
    addr_info: z.array(z.looseObject({ local: z.string(), family: z.string() })),
  }),
);
const Anchor = z.looseObject({ keeper: z.looseObject({ pid: z.number() }) });

const text = `# two offices
name: seed
networks:
  br0: { subnet: 192.168.57.0/24 }  # mine
guests: {}
`;

/* Through the real core of a lab that is up: what is written, and what `ip -j` says of the kernel. */
describe.each(['private', 'host'] as const)('networks of a lab that is up, in the %s scope', (scope) => {
  const who: Who = scope === 'host' ? 'root' : 'user';
  let world: World;
  let file: string;
  let connection: Connection;
  let lab: LabRow | undefined;
  let networks: readonly NetworkRow[] = [];
  let before: Awaited<ReturnType<typeof kernelState>>;

  beforeAll(async () => {
    world = World.create();
    before = await kernelState(world);
    file = world.file('tapyard.yaml', text, who);
    await world.serve({ as: who });
    const up = await world.tapyard(['up', file, '--scope', scope], { as: who });
    expect(up, up.stderr).toMatchObject({ code: 0 });
    const socket = path.join(world.runtimeDir(who), 'tapyard/core.sock');
    connection = await connect(await connectSocket(socket, 5000), { role: 'cli', deadlineMs: 5000 });
    connection.client.tables.labs((change) => (lab = rowsAfter(lab ? [lab] : [], change)[0]));
    connection.client.tables.networks((change) => (networks = rowsAfter(networks, change)));
    await until('the lab is there', 10_000, () => lab?.state === 'up' && networks.length === 1);
  });
  afterAll(() => {
    connection?.close();
    world?.close();
  });

  /** The addresses and the MTU of each bridge of the lab, as the kernel has them. */
  const bridges = async (): Promise<Record<string, [number, ...string[]]>> => {
    const ip = ['ip', '-j', 'address', 'show', 'type', 'bridge'];
    const anchor = path.join(world.runtimeDir(who), 'tapyard/labs/seed/netd/anchor.json');
    const inside =
      scope === 'host'
        ? ip
        : [
            'nsenter',
            '-t',
            String(Anchor.parse(JSON.parse(readFileSync(anchor, 'utf8'))).keeper.pid),
            '-n',
            ...ip,
          ];
    const links = Links.parse(JSON.parse(await world.must(inside, { as: 'root' })));
    return Object.fromEntries(
      links.map(({ ifname, mtu, addr_info: addresses }) => [
        ifname,
        [mtu, ...addresses.filter(({ family }) => family === 'inet').map(({ local }) => local)],
      ]),
    );
  };
  const hash = (): string => createHash('sha256').update(read()).digest('hex');
  const at = (network: string) => ({ lab: 'seed', network, fileHash: hash() });
  const read = (): string => readFileSync(file, 'utf8');

  test('one is added: in the kernel at once, and in the file with its comments kept', async () => {
    const { free } = await connection.client.network.subnets({ lab: 'seed' });
    const definition = { subnet: free, mode: 'isolated', mtu: 1400 } as const;
    await connection.client.network.create({ ...at('br1'), definition });
    const gateway = free.replace(/0\/24$/, '1');
    expect(await bridges()).toEqual({ br0: [1500, '192.168.57.1'], br1: [1400, gateway] });
    expect(read()).toBe(
      text.replace('# mine\n', `# mine\n  br1: { subnet: ${free}, mode: isolated, mtu: 1400 }\n`),
    );
    await until('it is seen', 5000, () =>
      networks.some((row) => row.name === 'br1' && row.observed?.mode === 'isolated' && row.reason === null),
    );
  });

  test('one that the kernel cannot have is not written', async () => {
    const written = read();
    const taken = { subnet: '203.0.113.0/25', mode: 'nat' } as const;
    const refused = connection.client.network.create({ ...at('br2'), definition: taken });
    await expect(refused).rejects.toMatchObject({ code: 'LAB_FILE_INVALID' });
    const link = ['ip', 'link', 'add', 'br2', 'type', 'bridge'];
    if (scope === 'host') {
      await world.must(link, { as: 'root' });
      const definition = { subnet: '10.77.0.0/24', mode: 'nat' } as const;
      await expect(connection.client.network.create({ ...at('br2'), definition })).rejects.toMatchObject({
        code: 'NAME_TAKEN',
      });
      await world.must(['ip', 'link', 'del', 'br2'], { as: 'root' });
    } else {
      const definition = { subnet: '10.77.0.0/24', mode: 'routed' } as const;
      await expect(connection.client.network.create({ ...at('br2'), definition })).rejects.toMatchObject({
        code: 'MODE_NEEDS_HOST_SCOPE',
      });
    }
    // `ip` lists by index, which netd chooses at random.
    expect([read(), Object.keys(await bridges()).toSorted()]).toEqual([written, ['br0', 'br1']]);
    expect(networks.map((row) => row.name).toSorted()).toEqual(['br0', 'br1']);
  });

  test('one is changed, and what an editor wrote meanwhile is not lost', async () => {
    const stale = at('br0');
    const definition = { subnet: '10.88.0.0/24', mode: 'nat', mtu: 1450 } as const;
    writeFileSync(file, `${read()}# by an editor\n`);
    await expect(connection.client.network.change({ ...stale, definition })).rejects.toMatchObject({
      code: 'LAB_FILE_CHANGED',
    });
    expect((await bridges())['br0']).toEqual([1500, '192.168.57.1']);
    await connection.client.network.change({ ...at('br0'), definition });
    expect((await bridges())['br0']).toEqual([1450, '10.88.0.1']);
    expect(read()).toContain('br0: { subnet: 10.88.0.0/24, mtu: 1450 }  # mine\n');
    expect(read()).toContain('# by an editor\n');
  });

  test('one that a guest has a NIC on stays, and goes without', async () => {
    const nics = [{ network: 'br1' }];
    await connection.client.guest.create({
      lab: 'seed',
      guest: 'web',
      definition: { image: 'micro', nics },
      start: false,
      fileHash: hash(),
    });
    await expect(connection.client.network.remove(at('br1'))).rejects.toMatchObject({
      code: 'NETWORK_IN_USE',
      message: 'The network br1 stays: web has a NIC on it.',
    });
    await connection.client.guest.removeNic({ lab: 'seed', guest: 'web', nic: 0, fileHash: hash() });
    await connection.client.network.remove(at('br1'));
    expect(await bridges()).toEqual({ br0: [1450, '10.88.0.1'] });
    expect(read()).not.toContain('br1');
    await until('it is gone', 5000, () => networks.every((row) => row.name !== 'br1'));
  });

  test('the last one leaves nothing behind either', async () => {
    await connection.client.network.remove(at('br0'));
    expect(Object.keys(await bridges().catch(() => ({})))).toEqual([]);
    const down = await world.tapyard(['down'], { as: who });
    expect(down, down.stderr).toMatchObject({ code: 0 });
    expect(await kernelState(world)).toEqual(before);
  });
});

function rowsAfter<Row extends { readonly id: string }>(
  rows: readonly Row[],
  change: TableChange<Row>,
): readonly Row[] {
  if ('full' in change) return change.full;
  const gone = new Set([...change.del, ...change.put.map(({ id }) => id)]);
  return [...rows.filter(({ id }) => !gone.has(id)), ...change.put];
}
