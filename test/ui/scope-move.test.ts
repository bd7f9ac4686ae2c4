// SPDX-License-Identifier: Apache-2.0
import type { BrowserContext, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Scope } from '../../electron/contract/names.ts';
import { openServed } from '../world/browser.ts';
import { keeperOf } from '../world/keeper.ts';
import { kernelState } from '../world/kernel.ts';
import { askToMove, movedTo } from '../world/scope-button.ts';
import { until, World } from '../world/world.ts';

/*
 * The scope button, the NAT switch and the Log view over the real core and its real network helpers. The lab is
 * root's, who needs to ask nobody, and has no guest: nothing here needs one.
 */

const file = `name: seed
networks:
  br0: { subnet: 192.168.57.0/24, nat: true }
`;
const as = { as: 'root' } as const;
/** A move takes a second or two, on a busy machine longer. */
const patience = 60_000;

let world: World;
let browser: BrowserContext;
let page: Page;
let complaints: string[];

beforeAll(async () => {
  world = World.create();
  const up = await world.tapyard(['up', world.file('seed.yaml', file, 'root')], as);
  expect(up, up.stderr).toMatchObject({ code: 0 });
  const serve = world.start(world.tapyardCommand(['serve']), as);
  ({ browser, page, complaints } = await openServed(world, serve, as));
});
afterAll(async () => {
  await browser?.close();
  world?.close();
});

async function moveTo(scope: Scope, meaning: string): Promise<void> {
  const agree = await askToMove(page, scope, meaning);
  await agree();
  await movedTo(page, scope, '192.168.57.1/24', patience);
}

/** What the log says of an act of this core's since `since`, ms: when it was, and by which command. */
async function act(what: string, since: number): Promise<{ time: number; command: string }> {
  await page.getByRole('button', { name: 'Log', exact: true }).click();
  const list = page.getByRole('list', { name: 'What the network helper did for seed' });
  const item: Locator = list.getByRole('listitem').filter({ hasText: what }).last();
  // The lab was up before, so the same was done for it before; what is new comes a moment after the kernel has it.
  const time = await until(`the log says “${what}”`, patience, async () => {
    const at = Date.parse((await item.getByRole('time').getAttribute('datetime')) ?? '');
    return at >= since && at;
  });
  expect(time).toBeLessThanOrEqual(Date.now());
  const core = world.processes().find(({ command }) => command.includes('tapyard.mjs serve'));
  expect(await item.getByRole('paragraph').innerText()).toMatch(
    new RegExp(`^${what}\\s+root \\(core, node ${core?.pid}\\)$`),
  );
  return { time, command: await item.locator('pre').last().innerText() };
}

/** Waits until the kernel has the bridge there: the old scope’s can still be on the map when the button has changed. */
const bridged = (where: () => Promise<string>): Promise<true> =>
  until('br0 is there with its address', patience, async () => {
    const shown = await where().catch(() => '');
    return shown.includes('192.168.57.1/24') || undefined;
  });
const showBridge = ['ip', '-br', 'addr', 'show', 'br0'] as const;

const onHost = (...command: string[]): Promise<string> => world.must(command, as);
const inLab = async (...command: string[]): Promise<string> =>
  onHost('nsenter', '-t', String(keeperOf(world, 'root')), '-n', ...command);

test(
  'moved by its button, a lab is on the computer and back, and the log has each act',
  { timeout: 240_000 },
  async () => {
    const before = await kernelState(world);
    await bridged(() => inLab(...showBridge));

    const asked = Date.now();
    await moveTo('host', 'Its bridges and taps are then on this computer, which reaches the guests');
    await bridged(() => onHost(...showBridge));
    const made = await act('made bridge br0', asked);
    expect(made.command).toMatch(
      /^ip link add br0 .*type bridge[^]*\nip link set br0 alias tapyard:0:seed:br0$/,
    );

    // What NAT off does to the kernel, and the log says so.
    await page.getByRole('button', { name: 'Map', exact: true }).click();
    const nat = page.getByRole('switch', { name: 'NAT of br0' });
    await nat.click();
    await page.getByRole('group', { name: /^NAT, Off/ }).waitFor({ timeout: patience });
    expect(await onHost('nft', 'list', 'set', 'inet', 'tapyard_0', 'nat_off')).toContain(
      'elements = { "br0" }',
    );
    const off = await act('switched NAT of br0 off', made.time);
    expect(off.command).toBe(
      `nft add element inet tapyard_0 draining '{ "br0" timeout 250ms }'\nnft add element inet tapyard_0 nat_off '{ "br0" }'`,
    );

    await moveTo('private', 'nothing on this computer changes, no privilege is needed');
    await bridged(() => inLab(...showBridge));
    // The old helper is told to take it away once the new scope is there.
    await until(
      'nothing of it is left on the computer',
      patience,
      async () => JSON.stringify(await kernelState(world)) === JSON.stringify(before),
    );
    const removed = await act('removed bridge br0', off.time);
    expect(removed.command).toBe('ip link del br0');
    await act('made bridge br0', removed.time);
    expect(complaints).toEqual([]);
  },
);
