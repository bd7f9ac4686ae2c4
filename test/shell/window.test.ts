// SPDX-License-Identifier: Apache-2.0
import { readlinkSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { askForPort, hereIsPort } from '../../electron/contract/port.ts';
import { z } from '../../electron/contract/zod.ts';
import { until, World } from '../world/world.ts';
import { Desktop } from './desktop.ts';

/*
 * The desktop window in a real Electron, an old one: it opens, its page is a client of the real core over the
 * preload's port, and it has no way out. What the old runtime cannot show (hosting the core, which needs a newer
 * Node) the stand-in in test/unit/shell does.
 */

/** As much of `topology --json` as is asked for here. */
const Topology = z.looseObject({
  networks: z.tuple([z.looseObject({ observed: z.looseObject({ nat: z.boolean() }).nullable() })]),
});

let world: World;
let desktop: Desktop;

const text = (): Promise<unknown> => desktop.evaluate('document.body.innerText');

beforeAll(async () => {
  world = World.create();
  const file = world.file(
    'seed.yaml',
    'name: seed\nnetworks: { br0: { subnet: 192.168.57.0/24, nat: true } }\nguests: {}\n',
  );
  const up = await world.tapyard(['up', file], { timeout: 90_000 });
  expect(up, up.stderr).toMatchObject({ code: 0 });
  await world.serve();
  desktop = await Desktop.make(world);
  await desktop.start();
});
afterAll(async () => {
  await desktop?.end();
  world?.close();
});

test('one window opens on app:// with the lab that the core has', async () => {
  await until('the page shows the network', 60_000, async () => String(await text()).includes('br0'));
  expect(await desktop.look()).toMatchObject({
    url: 'app://tapyard/',
    title: 'seed · Tapyard',
    windows: 1,
    versions: { electron: '9.4.1' },
  });
});

test('a switch in the page goes through to the kernel, and back into the page', async () => {
  const nat = `document.querySelector('[role=switch][aria-label="NAT of br0"]')`;
  const drawn = (): Promise<unknown> => desktop.evaluate(`${nat}.ariaChecked`);
  expect(await drawn()).toBe('true');
  const observed = async (): Promise<unknown> =>
    Topology.parse(JSON.parse((await world.tapyard(['topology', '--json'])).stdout)).networks[0].observed
      ?.nat;
  expect(await observed()).toBe(true);
  await desktop.evaluate(`${nat}.click()`);
  await until('the page shows NAT off', 30_000, async () => (await drawn()) === 'false');
  expect(await observed()).toBe(false);
});

test('the page has none of Node and nothing of Electron but a port, which the core itself answers', async () => {
  const powers = ['require', 'process', 'module', 'global', 'Buffer', 'ipcRenderer', 'electron'];
  expect(await desktop.evaluate(`[${powers.map((name) => `typeof ${name}`).join()}]`)).toEqual(
    powers.map(() => 'undefined'),
  );
  const heard = await desktop.evaluate(`new Promise((resolve) => {
    addEventListener('message', ({ data, ports: [port] }) => {
      if (data !== ${JSON.stringify(hereIsPort)}) return;
      port.onmessage = ({ data }) => resolve(JSON.parse(data));
      port.postMessage(JSON.stringify({ t: 'hello', contract: 'of another build', role: 'shell' }));
    });
    postMessage(${JSON.stringify(askForPort)}, location.origin);
  })`);
  expect(heard).toMatchObject({ t: 'refused', error: { code: 'CONTRACT_MISMATCH' } });
});

test('the page runs in a sandbox: in namespaces of its own', async () => {
  const { pid } = await desktop.look();
  const namespace = (of: number, kind: string): string => readlinkSync(`/proc/${of}/ns/${kind}`);
  for (const kind of ['user', 'pid', 'net']) {
    expect(namespace(pid, kind), kind).not.toBe(namespace(desktop.pid, kind));
  }
});

test('the page stays where it is: no navigation, no window, no permission, no file, no other origin', async () => {
  for (const attempt of [
    `location.href = 'https://example.com/'`,
    `location.href = 'file:///etc/passwd'`,
    `Object.assign(document.createElement('a'), { href: 'http://127.0.0.1/' }).click()`,
    `open('app://tapyard/')`,
    `open('https://example.com/')`,
    `Object.assign(document.createElement('a'), { href: URL.createObjectURL(new Blob(['x'])), download: 'x' }).click()`,
  ]) {
    await desktop.evaluate(`{ ${attempt}; null }`);
  }
  await until('the link was offered', 30_000, () => desktop.questions.length > 0);
  expect(desktop.questions).toEqual([expect.stringContaining('"detail":"https://example.com/"')]);
  const refused = {
    notifications: [`Notification.requestPermission()`, 'denied'],
    location: [
      `new Promise((resolve) => navigator.geolocation.getCurrentPosition(resolve, ({ code }) => resolve(code)))`,
      1,
    ],
    'a file beside the page': [`fetch('app://tapyard/../../package.json').then(({ status }) => status)`, 404],
    'another host': [`fetch('app://other/').catch(({ name }) => name)`, 'TypeError'],
    'a file of the computer': [`fetch('file:///etc/passwd').catch(({ name }) => name)`, 'TypeError'],
    'code from text': [
      `new Promise((resolve) => resolve(new Function('return 1')())).catch(({ name }) => name)`,
      'EvalError',
    ],
  } as const;
  for (const [what, [attempt, answer]] of Object.entries(refused)) {
    expect(await desktop.evaluate(attempt), what).toBe(answer);
  }
  expect(await desktop.look()).toMatchObject({ url: 'app://tapyard/', windows: 1 });
  expect(String(await text())).toContain('br0');
});

test('started again it brings its window to the front', async () => {
  expect(await desktop.startAgain()).toBe(0);
  expect(await desktop.look()).toMatchObject({ windows: 1 });
});

test('it ends with its window, and when it is told to; the core goes on', async () => {
  expect(await desktop.closeWindow()).toBe(0);
  await desktop.start();
  expect(await desktop.terminate()).toBe(0);
  expect(await world.tapyard(['ls'])).toMatchObject({ code: 0 });
});
