// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ForwardRow } from '../../electron/contract/rows.ts';
import { z } from '../../electron/contract/zod.ts';
import { GuestShell } from '../world/guest-shell.ts';
import { kernelState, type Json } from '../world/kernel.ts';
import { checkout, type Finished, hostAddress, until, World } from '../world/world.ts';

const seed = readFileSync(path.join(checkout, 'assets/labs/seed.yaml'), 'utf8').trimEnd();

/* In the host scope a forward for the LAN is a rule, with a real guest behind it. */

let world: World;
let file: string;
let before: Record<string, Json>;

const tapyard = (...args: string[]): Promise<Finished> =>
  world.tapyard(args, { as: 'root', timeout: 90_000 });
const rows = async (): Promise<ForwardRow[]> => {
  const listed = await tapyard('forward', '--json');
  expect(listed, listed.stderr).toMatchObject({ code: 0 });
  return z.array(ForwardRow).parse(JSON.parse(listed.stdout));
};
const page = (at: string, from: 'host1' | 'wan1' = 'wan1'): Promise<string> => {
  const fetch = `fetch('http://${at}/', { signal: AbortSignal.timeout(3000) }).then((r) => r.text(), (e) => String(e.cause ?? e)).then(console.log)`;
  return world.must([process.execPath, '-e', fetch], { as: 'root', in: from });
};
const served = (at: string, from?: 'host1' | 'wan1'): Promise<true> =>
  until(`the guest's page at ${at}`, 30_000, async () =>
    (await page(at, from)).includes('guest') ? true : undefined,
  );

beforeAll(async () => {
  world = World.create();
  before = await kernelState(world);
  const forwards = `forwards: [{ port: 8080, to: 80 }, { port: 8081, to: 80, address: 0.0.0.0 }]`;
  file = world.file('tapyard.yaml', `${seed}\n    ${forwards}\n`, 'root');
  const up = await tapyard('up', file, '--scope', 'host');
  expect(up, `${up.stdout}\n${up.stderr}`).toMatchObject({ code: 0 });
});
afterAll(() => world?.close());

test('loopback is a process, the LAN a rule, and both lead to the guest', async () => {
  const settled = await until('both are there', 20_000, async () => {
    const all = await rows();
    return all.every(({ state }) => state === 'listening') && all;
  });
  expect(settled).toMatchObject([
    { port: 8080, way: 'process', at: ['127.0.0.1'] },
    { port: 8081, way: 'rule', at: [hostAddress], pid: null, flows: null },
  ]);
  await served('127.0.0.1:8080', 'host1');
  await served(`${hostAddress}:8081`);
  await served(`${hostAddress}:8081`, 'host1');
  expect(await page(`${hostAddress}:8080`)).toContain('ECONNREFUSED');
});

test('one more is made and taken away, and a taken port is named', async () => {
  const added = await tapyard('forward', 'guest', '8082', '80', '--address', hostAddress);
  expect(added).toMatchObject({
    code: 0,
    stdout: `${hostAddress}:8082 -> guest (192.168.57.2):80 by rule\n`,
    stderr: '',
  });
  await served(`${hostAddress}:8082`);
  expect(await tapyard('forward', 'guest', '8082', '--address', hostAddress, '--remove')).toMatchObject({
    code: 0,
  });
  expect(await page(`${hostAddress}:8082`)).toContain('ECONNREFUSED');
  const listener = `require('node:net').createServer().listen(8083, () => console.log('up'))`;
  const other = world.start([process.execPath, '-e', listener], { as: 'root' });
  await new Promise((resolve) => other.stdout?.once('data', resolve));
  const taken = await tapyard('forward', 'guest', '8083', '80', '--address', '0.0.0.0');
  expect(taken).toMatchObject({ code: 1 });
  expect(taken.stderr).toMatch(/203\.0\.113\.2:8083\/tcp is taken by [^]*\[PORT_TAKEN\]/);
  expect(await tapyard('forward', 'guest', '8083', '--address', '0.0.0.0', '--remove')).toMatchObject({
    code: 0,
  });
});

test('UDP goes by a rule as well, beside TCP of the same port, and by nothing else', async () => {
  const shell = await GuestShell.open(world, 'guest', 'root');
  const service = 'while :; do echo hello from $(hostname) | nc -u -l -w 1 8081; done';
  await shell.run(`(${service}) >/dev/null 2>&1 & true`);
  await shell.close();
  expect(await tapyard('forward', 'guest', '8081', '--udp', '--address', '0.0.0.0')).toMatchObject({
    code: 0,
    stdout: '0.0.0.0:8081/udp -> guest (192.168.57.2):8081 by rule\n',
    stderr: '',
  });
  const ask = `echo hi | nc -u -w 1 ${hostAddress} 8081`;
  await until('the guest answers', 30_000, async () => {
    const { stdout } = await world.run(['sh', '-c', ask], { as: 'root', in: 'wan1' });
    return stdout.includes('hello from guest') ? true : undefined;
  });
  await served(`${hostAddress}:8081`);
  const refused = await tapyard('forward', 'guest', '5353', '--udp');
  expect(refused).toMatchObject({ code: 1 });
  expect(refused.stderr).toMatch(/127\.0\.0\.1:5353\/udp cannot lead to guest[^]*\[UDP_NEEDS_RULE\]/);
  expect(readFileSync(file, 'utf8')).not.toContain('5353');

  const remove = ['forward', 'guest', '8081', '--udp', '--address', '0.0.0.0', '--remove'];
  expect(await tapyard(...remove)).toMatchObject({ code: 0 });
  expect(await rows()).toHaveLength(2);
  const { stdout } = await world.run(['sh', '-c', ask], { as: 'root', in: 'wan1' });
  expect(stdout).toBe('');
});

test('with NAT off the rule lets nothing in, and says so', async () => {
  expect(await tapyard('nat', 'br0', 'off')).toMatchObject({ code: 0 });
  expect((await rows())[1]).toMatchObject({ port: 8081, state: 'blocked' });
  expect(await page(`${hostAddress}:8081`)).not.toContain('guest');
  expect(await tapyard('nat', 'br0', 'on')).toMatchObject({ code: 0 });
  await served(`${hostAddress}:8081`);
});

test('down leaves nothing', async () => {
  expect(await tapyard('down', '--force')).toMatchObject({ code: 0 });
  expect(await kernelState(world)).toEqual(before);
  expect(await rows()).toMatchObject([{ state: 'waiting' }, { state: 'waiting', way: 'rule' }]);
});
