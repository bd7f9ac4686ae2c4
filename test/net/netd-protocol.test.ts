// SPDX-License-Identifier: Apache-2.0
import net from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from '../../electron/contract/zod.ts';
import { br0 } from '../world/host-lab.ts';
import { kernelState } from '../world/kernel.ts';
import { firstWords, netdInside, until, World } from '../world/world.ts';

/*
 * netd trusts nobody: whatever comes over its socket never crashes it, never changes the kernel by itself, and
 * is answered by a code (docs/netd-protocol.md). netd runs here as root in the host scope of the test's world.
 */

let world: World;
let socketPath: string;
let before: Awaited<ReturnType<typeof kernelState>>;
let netdPid: number;

const Reply = z.strictObject({
  id: z.number().nullable(),
  ok: z.unknown().optional(),
  error: z.looseObject({ code: z.string(), message: z.string() }).optional(),
});
type Reply = z.infer<typeof Reply>;

const Ready = z.looseObject({ ready: z.literal(true), pid: z.number() });
const Steps = z.looseObject({ steps: z.array(z.looseObject({ id: z.string(), changed: z.boolean() })) });

/** Sends raw bytes and gathers reply lines until `count` came or the socket closed. */
function raw(
  bytes: Uint8Array | string,
  count: number,
  where = socketPath,
): Promise<{ replies: Reply[]; closed: boolean }> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(where);
    let text = '';
    const answer = (closed: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      const lines = text.split('\n').filter((line) => line !== '');
      resolve({ replies: lines.map((line) => Reply.parse(JSON.parse(line))), closed });
    };
    const timer = setTimeout(
      () => reject(new Error(`no answer to ${String(bytes).slice(0, 80)}: ${text}`)),
      5000,
    );
    socket.on('data', (chunk) => {
      text += chunk.toString('utf8');
      if (text.split('\n').length - 1 >= count) answer(false);
    });
    socket.on('close', () => answer(true));
    socket.on('error', () => undefined);
    socket.write(bytes);
  });
}

const request = (id: number, verb: string, args: unknown): string =>
  `${JSON.stringify({ id, verb, args })}\n`;
const hello = request(0, 'hello', { protocol: 1, client: 'test' });
beforeAll(async () => {
  world = World.create();
  before = await kernelState(world);
  const dir = `${world.runtimeDir('root')}/netd`;
  const netd = world.start(
    ['sh', '-c', `mkdir -m 700 ${dir} && exec ${netdInside} --scope host --dir ${dir}`],
    { as: 'root' },
  );
  const ready = await firstWords(netd, 'netd');
  netdPid = Ready.parse(JSON.parse(ready)).pid;
  socketPath = `${dir}/netd.sock`;
});
afterAll(() => world?.close());

async function unharmed(): Promise<void> {
  const { replies } = await raw(hello, 1);
  expect(replies[0]).toMatchObject({ id: 0, ok: { protocol: 1, scope: 'host', lab: null } });
  expect(await kernelState(world)).toEqual(before);
}

test('not JSON, not an object, no verb, wrong id: BAD_MESSAGE, and the connection goes on', async () => {
  const bad = [
    'garbage',
    '[]',
    '42',
    'null',
    '"hello"',
    '{"id":1}',
    '{"verb":"hello"}',
    '{"id":-1,"verb":"hello","args":{}}',
    '{"id":1.5,"verb":"hello","args":{}}',
    '{"id":4294967296,"verb":"hello","args":{}}',
    '{"id":1,"verb":7,"args":{}}',
    '\u0000\u0001',
    '{"id":1,"verb":"hello","args":{},"more":1}',
  ];
  const { replies, closed } = await raw(`${bad.join('\n')}\n${hello}`, bad.length + 1);
  expect(closed).toBe(false);
  for (const [index, line] of bad.entries()) {
    expect({ line, code: replies[index]?.error?.code }).toEqual({ line, code: 'BAD_MESSAGE' });
  }
  expect(replies.at(-1)).toHaveProperty('ok');
  await unharmed();
});

test('bytes that are not UTF-8: BAD_MESSAGE', async () => {
  const { replies } = await raw(
    Buffer.concat([Buffer.from([0xff, 0xfe, 0x80, 0x0a]), Buffer.from(hello)]),
    2,
  );
  expect(replies[0]?.error?.code).toBe('BAD_MESSAGE');
  expect(replies[1]).toHaveProperty('ok');
});

test('a line that is too long: TOO_LARGE, then the connection ends', async () => {
  const { replies, closed } = await raw(`${'x'.repeat(70_000)}\n`, 2);
  expect(replies[0]?.error?.code).toBe('TOO_LARGE');
  expect(closed).toBe(true);
  await unharmed();
});

test('a truncated message and a client that goes away harm nobody', async () => {
  for (const cut of [1, 5, hello.length - 1]) {
    await new Promise<void>((resolve) => {
      const socket = net.connect(socketPath, () => socket.end(hello.slice(0, cut)));
      socket
        .on('close', () => resolve())
        .on('error', () => undefined)
        .resume();
    });
  }
  await unharmed();
});

test('verbs before hello: HELLO_FIRST, and nothing happens', async () => {
  const verbs = [
    'apply_network',
    'remove_network',
    'open_tap',
    'set_nat',
    'set_shape',
    'observe',
    'counters',
    'shutdown',
  ];
  const { replies } = await raw(
    verbs
      .map((verb, id) => request(id, verb, verb === 'apply_network' ? { lab: 'seed', network: br0 } : {}))
      .join(''),
    verbs.length,
  );
  expect(replies.map((reply) => reply.error?.code)).toEqual(verbs.map(() => 'HELLO_FIRST'));
  await unharmed();
});

test('an unknown verb, another protocol: their codes', async () => {
  const { replies } = await raw(
    `${request(1, 'hello', { protocol: 2, client: 'test' })}${hello}${request(2, 'rm -rf', {})}`,
    3,
  );
  expect(replies.map((reply) => reply.error?.code)).toEqual(['PROTOCOL_MISMATCH', undefined, 'NO_SUCH_VERB']);
});

test('hostile names, numbers and keys: BAD_ARGS, and the kernel stays as it was', async () => {
  const names = [
    '',
    '.',
    '..',
    'all',
    'default',
    'lo',
    '-br0',
    'br 0',
    'br/0',
    '../br0',
    'br0\n',
    '$(id)',
    'a'.repeat(16),
    'br0\u0000',
    'bré',
    'a'.repeat(60_000),
  ];
  const bad: unknown[] = [
    ...names.map((name) => ({ lab: 'seed', network: { ...br0, name } })),
    ...['', 'Seed', '../seed', 'a'.repeat(33), '-seed', 'seed\n', 'se:ed'].map((lab) => ({
      lab,
      network: br0,
    })),
    ...[
      '192.168.57.1/24',
      '8.8.8.0/24',
      '192.168.57.0/31',
      '192.168.57.0/7',
      '192.168.57.0',
      'fd00::/64',
      '192.168.057.0/24',
      '0.0.0.0/0',
      '127.0.0.0/8',
      '224.0.0.0/8',
    ].map((subnet) => ({ lab: 'seed', network: { ...br0, subnet } })),
    ...['192.168.58.1', '192.168.57.0', '192.168.57.255', 'x'].map((address) => ({
      lab: 'seed',
      network: { ...br0, address },
    })),
    ...[0, 575, 65_536, -1, 1.5, '1500', null].map((mtu) => ({ lab: 'seed', network: { ...br0, mtu } })),
    ...['00:00:00:00:00:01', '52:54:00:00:00', 'ff:ff:ff:ff:ff:ff', '52:54:00:00:00:0G'].map((mac) => ({
      lab: 'seed',
      network: { ...br0, mac },
    })),
    { lab: 'seed', network: { ...br0, nat: 'yes' } },
    { lab: 'seed', network: { ...br0, domain: 'lab\nserver=evil' } },
    { lab: 'seed', network: { ...br0, extra: 1 } },
    { lab: 'seed' },
    {
      lab: 'seed',
      network: { ...br0, dhcp: { from: '192.168.57.254', to: '192.168.57.128', reservations: [] } },
    },
    {
      lab: 'seed',
      network: {
        ...br0,
        dhcp: {
          ...br0.dhcp,
          reservations: [{ mac: '52:54:00:00:00:02', address: '192.168.57.2', guest: 'a,b' }],
        },
      },
    },
    {
      lab: 'seed',
      network: {
        ...br0,
        dhcp: { ...br0.dhcp, reservations: [{ mac: '52:54:00:00:00:02', address: '10.0.0.1', guest: 'a' }] },
      },
    },
  ];
  for (const args of bad) {
    const { replies } = await raw(hello + request(1, 'apply_network', args), 2);
    const label = JSON.stringify(args).slice(0, 120);
    expect({ label, code: replies[1]?.error?.code }).toEqual({ label, code: 'BAD_ARGS' });
  }
  await unharmed();
});

test('another uid: NOT_ALLOWED, even where the directory would let it in', async () => {
  const script = `require("net").connect(process.argv[1]).on("connect", function () { this.write(process.argv[2]); }).on("data", (d) => { console.log(String(d)); process.exit(0); }).on("close", () => process.exit(3))`;
  const open = `chmod 711 ${world.dir} ${path.dirname(path.dirname(socketPath))} ${path.dirname(socketPath)} && chmod 666 ${socketPath}`;
  await world.must(['sh', '-c', open], { as: 'root' });
  const answer = await world.run([
    process.execPath,
    '-e',
    script,
    socketPath,
    hello + request(1, 'apply_network', { lab: 'seed', network: br0 }),
  ]);
  await world.must(
    [
      'sh',
      '-c',
      `chmod 700 ${path.dirname(socketPath)} ${path.dirname(path.dirname(socketPath))}; chmod 600 ${socketPath}; chmod 755 ${world.dir}`,
    ],
    { as: 'root' },
  );
  expect(answer.stdout).toContain('NOT_ALLOWED');
  expect(answer.stdout).not.toContain('"ok"');
  await unharmed();
});

test('verbs out of order: their codes', async () => {
  const { replies } = await raw(
    hello +
      request(1, 'set_nat', { lab: 'seed', network: 'br0', nat: true }) +
      request(2, 'open_tap', {
        lab: 'seed',
        network: 'br0',
        guest: 'guest',
        nic: 0,
        mac: '52:54:00:00:00:02',
        tap: 'tap0',
      }) +
      request(3, 'remove_network', { lab: 'seed', network: 'br0' }),
    4,
  );
  expect(replies.slice(1).map((reply) => reply.error?.code ?? reply.ok)).toEqual([
    'NO_SUCH_NETWORK',
    'NO_SUCH_NETWORK',
    { removed: [], failed: [] },
  ]);
  await unharmed();
});

test('more than 32 connections: BUSY, and they are served again when some go', async () => {
  const sockets = await Promise.all(
    Array.from(
      { length: 32 },
      () =>
        new Promise<net.Socket>((resolve) => {
          const socket = net.connect(socketPath, () => resolve(socket));
        }),
    ),
  );
  const { replies } = await raw(hello, 1);
  expect(replies[0]?.error?.code).toBe('BUSY');
  for (const socket of sockets) socket.destroy();
  await until('served again', 2000, async () => (await raw(hello, 1)).replies[0]?.ok !== undefined);
  await unharmed();
});

test('a foreign br0 is NAME_TAKEN and stays untouched', async () => {
  await world.must(['ip', 'link', 'add', 'br0', 'type', 'bridge'], { as: 'root' });
  const foreign = await kernelState(world);
  const { replies } = await raw(
    hello +
      request(1, 'apply_network', { lab: 'seed', network: br0 }) +
      request(2, 'remove_network', { lab: 'seed', network: 'br0' }),
    3,
  );
  expect(replies[1]?.error?.code).toBe('NAME_TAKEN');
  expect(await kernelState(world)).toEqual(foreign);
  await world.must(['ip', 'link', 'del', 'br0'], { as: 'root' });
  await unharmed();
});

test('a whole life on one connection: apply twice, tap refused twice, NAT, remove; the kernel is as before', async () => {
  const { replies } = await raw(
    hello +
      request(1, 'apply_network', { lab: 'seed', network: br0 }) +
      request(2, 'apply_network', { lab: 'seed', network: br0 }) +
      request(3, 'set_nat', { lab: 'seed', network: 'br0', nat: false }) +
      request(4, 'set_nat', { lab: 'seed', network: 'br0', nat: false }) +
      request(5, 'apply_network', { lab: 'other', network: { ...br0, name: 'br9' } }) +
      request(6, 'remove_network', { lab: 'seed', network: 'br0' }),
    7,
  );
  expect(replies.map((reply) => reply.error)).toEqual([
    undefined,
    undefined,
    undefined,
    undefined,
    undefined,
    expect.objectContaining({ code: 'SUBNET_OVERLAP' }),
    undefined,
  ]);
  const steps = (reply: Reply | undefined) => Steps.parse(reply?.ok).steps;
  expect(steps(replies[1]).map(({ id }) => id)).toEqual([
    'bridge',
    'bridge_address',
    'bridge_up',
    'forwarding',
    'filter',
    'dns',
  ]);
  expect(steps(replies[2]).filter(({ changed }) => changed)).toEqual([]);
  expect(replies[3]?.ok).toMatchObject({ nat: false, changed: true });
  expect(replies[4]?.ok).toMatchObject({ nat: false, changed: false });
  const table = JSON.stringify((await kernelState(world))['rules']);
  expect(table).not.toContain('br0');
  const ended = await raw(hello + request(1, 'shutdown', {}), 2);
  expect(ended.replies[1]?.ok).toMatchObject({ failed: [] });
  await until('netd is gone', 3000, () => !world.processes().some(({ pid }) => pid === netdPid));
  expect(await kernelState(world)).toEqual(before);
});
