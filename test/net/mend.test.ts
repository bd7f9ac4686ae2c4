// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Mirror } from '../../electron/cli/mirror.ts';
import type { Connection } from '../../electron/contract/client.ts';
import { connect } from '../../electron/contract/connect.ts';
import type { CheckResult, JobRow } from '../../electron/contract/rows.ts';
import { connectSocket } from '../../electron/core/host/socket-channel.ts';
import { kernelState } from '../world/kernel.ts';
import { commands, installed, names, PolkitSystem } from '../world/polkit.ts';
import { finish, type Finished, firstWords, netdInside, until, World } from '../world/world.ts';

/*
 * The installed helper loses what an upgrade takes from it, and gets it back from the core of an ordinary user: by
 * the real pkexec, with a polkit and a system bus of this test's own, in a mount namespace with a /usr/libexec of its
 * own.
 */

const { setcap, chgrp, chmod } = commands;
const whole = ['tapyard 750', `${installed} ${names}=ep`];

let world: World;
let before: Awaited<ReturnType<typeof kernelState>>;
let system: PolkitSystem;
let connection: Connection;
let jobs: Mirror<JobRow>;
/** What the user was told of before it was asked. */
const told: string[] = [];

beforeAll(async () => {
  world = World.create();
  before = await kernelState(world);
  system = await PolkitSystem.start(world);
  const serve = world.start(system.asUser(world.tapyardCommand(['serve'])), { as: 'root' });
  await firstWords(serve, 'tapyard serve');
  const socket = path.join(world.runtimeDir('user'), 'tapyard/core.sock');
  await until('the core listens', 30_000, () => existsSync(socket));
  connection = await connect(await connectSocket(socket, 5000), { role: 'cli', deadlineMs: 5000 });
  jobs = await Mirror.open(connection, connection.client.tables.jobs);
  jobs.onChange(() => {
    for (const { asks } of jobs.list()) if (asks !== null && asks !== told.at(-1)) told.push(asks);
  });
}, 120_000);
afterAll(() => {
  connection?.close();
  world?.close();
});

const tapyard = (...args: string[]): Promise<Finished> =>
  world.run(system.asUser(world.tapyardCommand(args)), { as: 'root' });

async function check(): Promise<CheckResult> {
  const { results } = await connection.client.check.run({});
  const found = results.find(({ id }) => id === 'host-scope');
  if (found === undefined) throw new Error('no check of the host scope');
  return found;
}

async function mend(): Promise<JobRow> {
  const { job } = await connection.client.check.mend({ check: 'host-scope' });
  const row = await jobs.until(
    (rows) => rows.find(({ id, state }) => id === job && state !== 'running'),
    120_000,
  );
  if (row === undefined) throw new Error('the mend does not end');
  return row;
}

beforeEach(async () => {
  told.length = 0;
  await system.root('rm -rf /run/refuse /run/allow');
  await system.install();
  expect(await system.kept()).toEqual(whole);
});

test(
  'capabilities that were lost are given back, and the helper works with them',
  { timeout: 180_000 },
  async () => {
    expect(await check()).toMatchObject({ state: 'ok', fixes: [] });
    await system.root(`setcap -r ${installed}; touch /run/allow`);
    expect(await check()).toMatchObject({
      state: 'warning',
      fixes: [{ command: `sudo ${setcap}`, mend: 'host-scope' }],
    });
    expect(await mend()).toMatchObject({ state: 'done', check: 'host-scope', lab: null, error: null });
    expect(told).toEqual([expect.stringContaining(`as root: ${setcap}.`)]);
    expect(await system.kept()).toEqual(whole);
    expect(await check()).toMatchObject({ state: 'ok', fixes: [] });

    const file = world.file('tapyard.yaml', 'name: seed\nnetworks:\n  br0: { subnet: 192.168.57.0/24 }\n');
    const up = await tapyard('up', file, '--scope', 'host');
    expect(up, up.stderr).toMatchObject({ code: 0 });
    expect(await world.must(['ip', '-br', 'addr', 'show', 'br0'])).toContain('192.168.57.1/24');
    expect(await tapyard('down')).toMatchObject({ code: 0 });
    expect(await kernelState(world)).toEqual(before);
  },
);

test('a helper as a package writes it gets its group and its mode back first', async () => {
  await system.root(`install -o root -g root -m 0755 ${netdInside} ${installed}; touch /run/allow`);
  expect((await check()).fixes).toEqual([
    expect.objectContaining({ command: `sudo ${chgrp}\nsudo ${chmod}\nsudo ${setcap}`, mend: 'host-scope' }),
  ]);
  expect(await mend()).toMatchObject({ state: 'done' });
  expect(told.map((text) => [chgrp, chmod, setcap].findIndex((command) => text.includes(command)))).toEqual([
    0, 1, 2,
  ]);
  expect(await system.kept()).toEqual(whole);
});

test('refused, and nobody there to be asked, are told apart, and nothing has changed', async () => {
  await system.root(`setcap -r ${installed}; touch /run/refuse`);
  expect((await mend()).error).toMatchObject({
    code: 'MEND_DENIED',
    message: expect.stringContaining('polkit does not allow it'),
  });
  await system.root('rm /run/refuse');
  expect((await mend()).error).toMatchObject({
    code: 'MEND_DENIED',
    message: expect.stringContaining('nobody could be asked'),
    hint: expect.stringContaining('tapyard check --mend'),
  });
  expect(await system.kept()).toEqual(['tapyard 750']);
  expect(await check()).toMatchObject({ state: 'warning' });
});

test('a helper that others than root can change gets nothing', async () => {
  for (const open of [
    'chmod g+w /usr/libexec/tapyard/host',
    `chown ${world.uid} /usr/libexec/tapyard`,
    `ln ${installed} /usr/libexec/other`,
  ]) {
    await system.root(`rm -rf /usr/libexec/*; touch /run/allow
      install -D -o root -g tapyard -m 0750 ${netdInside} ${installed}; ${open}`);
    const { found, fixes } = await check();
    expect(found, open).toContain('must have no capabilities');
    expect(fixes.map((fix) => fix.mend)).toEqual([undefined]);
    expect((await mend()).error).toMatchObject({ code: 'MEND_FAILED' });
    expect(await system.kept()).toEqual(['tapyard 750']);
  }
  expect(told).toEqual([]);
});

test('tapyard check --mend does it by sudo, and says what it runs', async () => {
  await system.root(`setcap -r ${installed}; touch /run/allow`);
  const shown = await tapyard('check');
  expect(shown.stdout).toContain(`sudo ${setcap}\n    Or let it be done: tapyard check --mend\n`);
  const mended = await tapyard('check', '--mend', '--json');
  expect(mended.stderr).toContain(`As root, by sudo, which may ask for your password: ${setcap}\n`);
  expect(JSON.parse(mended.stdout)).toContainEqual(
    expect.objectContaining({ id: 'host-scope', state: 'ok' }),
  );
  expect(await system.kept()).toEqual(whole);
  expect((await tapyard('check', '--mend')).stderr).toContain(
    'nothing here that tapyard check --mend can mend',
  );

  await system.root(`setcap -r ${installed}; touch /run/refuse`);
  const refused = await tapyard('check', '--mend');
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain('[MEND_FAILED]');
  expect(await system.kept()).toEqual(['tapyard 750']);
});

describe('a mend in a terminal that is told to end', () => {
  /** Puts a sudo in the place of the system's, until it is told to end. */
  const instead = (script: string): Promise<string> =>
    system.root(`mkdir -m 777 /run/told; mv /run/bin/sudo /run/bin/real; printf '%s\\n' '#!/bin/sh' '${script}' >/run/bin/sudo
      chmod 755 /run/bin/sudo`);
  afterEach(() => system.root('rm -rf /run/told; mv /run/bin/real /run/bin/sudo'));

  /** Begins one that takes three commands, and signals it when sudo was asked for the first. */
  async function ended(name: 'SIGINT' | 'SIGTERM', first: boolean): Promise<Finished> {
    await system.root(`install -o root -g root -m 0755 ${netdInside} ${installed}`);
    const child = world.start(system.asUser(world.tapyardCommand(['check', '--mend'])), { as: 'root' });
    const done = finish(child, 'check --mend');
    await system.root('for i in $(seq 300); do [ -s /run/told/pid ] && exit; sleep 0.1; done; exit 1');
    child.kill(name);
    if (first) await until('it ends, and sudo does not', 30_000, () => child.exitCode !== null);
    await system.root('kill "$(cat /run/told/pid)"');
    return await done;
  }

  test('runs nothing more once sudo is done, which Ctrl+C is left to', async () => {
    await instead('trap "exit 0" TERM; echo $$ >/run/told/pid; while :; do sleep 0.1; done');
    const done = await ended('SIGINT', false);
    expect(done).toMatchObject({ code: 130, stdout: '' });
    expect(done.stderr.match(/As root, by sudo/g)).toHaveLength(1);
    expect(done.stderr).toContain('Stopped: nothing more is run.');
  });

  test('waits for no sudo that it cannot end, as it is root’s', async () => {
    await system.root('cp "$(command -v setpriv)" /run/bin/become; chmod 4755 /run/bin/become');
    const sleep = 'echo $$ >/run/told/pid; exec sleep 600';
    await instead(`exec /run/bin/become --reuid 0 --clear-groups -- sh -c "${sleep.replaceAll('$', '\\$')}"`);
    const done = await ended('SIGTERM', true);
    expect(done).toMatchObject({ code: 130, stdout: '' });
    expect(done.stderr).toContain('Stopped: nothing more is run.');
  });
});
