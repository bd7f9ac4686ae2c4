// SPDX-License-Identifier: Apache-2.0
// @vitest-environment happy-dom
import { beforeEach, describe, expect, it } from 'vitest';
import { TapyardError } from '../../../electron/contract/error.ts';
import { addCommands, allCommands, commandById, type Command } from '../../../renderer/commands/command.ts';
import { guestActions, guestVerbs } from '../../../renderer/commands/guest.ts';
import {
  canBringUp,
  canForceOff,
  canRemove,
  canReset,
  canShutdown,
  canStart,
} from '../../../renderer/commands/rules.ts';
import { commandState, runCommand, verdict } from '../../../renderer/commands/run.ts';
import { isCharacter, matches } from '../../../renderer/commands/shortcut.ts';
import '../../../renderer/commands/table.ts';
import { useCore } from '../../../renderer/store/core.ts';
import { useTables } from '../../../renderer/store/tables.ts';
import { useUi } from '../../../renderer/store/ui.ts';
import { FakeCore } from '../../fakes/fake-core.ts';
import { labByName } from '../../fakes/page/choose.ts';
import { linkRow } from '../../fakes/rows.ts';
import { byId, guest, lab, network } from './rows.ts';

const press = (
  key: string,
  modifiers: Partial<Record<'ctrlKey' | 'altKey' | 'shiftKey' | 'metaKey', boolean>> = {},
) => ({
  key,
  ctrlKey: false,
  altKey: false,
  shiftKey: false,
  metaKey: false,
  ...modifiers,
});

describe('rules', () => {
  it('starts only what is off, wanted, and in a lab that is up', () => {
    expect(canStart(guest({ state: 'shut off' }), lab())).toBe(true);
    expect(canStart(guest({ state: 'crashed' }), lab())).toBe(true);
    expect(canStart(guest(), lab())).toBe('web is running');
    expect(canStart(guest({ state: 'shut off' }), lab({ state: 'down' }))).toBe('bring seed up first');
    expect(canStart(guest({ state: 'shut off', wanted: false }), lab())).toMatch('no longer in the lab file');
  });

  it('says why a paused guest does not hear its power button', () => {
    expect(canShutdown(guest({ state: 'paused' }))).toBe('web is paused; resume it first');
    expect(canShutdown(guest({ state: 'shutting down' }))).toBe(true);
  });

  it('pulls the plug of whatever has a QEMU', () => {
    for (const state of ['starting', 'running', 'paused', 'shutting down'] as const)
      expect(canForceOff(guest({ state }))).toBe(true);
    expect(canForceOff(guest({ state: 'shut off' }))).toBe('web is shut off');
    expect(canReset(guest({ state: 'starting' }))).toBe('web is starting');
    expect(canRemove(guest())).toBe('shut web down first');
  });

  it('brings a lab up again only when something is missing', () => {
    expect(canBringUp(lab(), true)).toBe('seed is up');
    expect(canBringUp(lab(), false)).toBe(true);
    expect(canBringUp(lab({ state: 'stopping' }), false)).toBe('seed is stopping');
  });
});

describe('shortcuts', () => {
  it('match their modifiers exactly', () => {
    expect(matches(press('k', { ctrlKey: true }), 'Ctrl+K')).toBe(true);
    expect(matches(press('K', { ctrlKey: true, shiftKey: true }), 'Ctrl+K')).toBe(false);
    expect(matches(press('k'), 'Ctrl+K')).toBe(false);
    expect(matches(press('k', { ctrlKey: true, metaKey: true }), 'Ctrl+K')).toBe(false);
    expect(matches(press('Enter', { altKey: true }), 'Alt+Enter')).toBe(true);
    expect(matches(press(',', { ctrlKey: true }), 'Ctrl+,')).toBe(true);
  });

  it('take a character whether or not its keyboard needs Shift for it', () => {
    expect(matches(press('?', { shiftKey: true }), '?')).toBe(true);
    expect(matches(press('?'), '?')).toBe(true);
    expect(isCharacter('?')).toBe(true);
    expect(isCharacter('Ctrl+K')).toBe(false);
  });

  it('are each given once', () => {
    const shortcuts = allCommands().flatMap(({ shortcut }) => (shortcut === undefined ? [] : [shortcut]));
    expect(new Set(shortcuts).size).toBe(shortcuts.length);
  });
});

describe('the table', () => {
  it('has every command that a guest’s buttons and menu offer, with a word for it', () => {
    for (const state of ['shut off', 'starting', 'running', 'paused', 'shutting down', 'crashed'] as const) {
      const { first, more } = guestActions(state);
      for (const id of [...first, ...more]) {
        expect(commandById(id).on).toEqual(['guest']);
        expect(guestVerbs.has(id)).toBe(true);
      }
    }
  });

  it('names its subject', () => {
    useTables.setState({ labs: byId(lab()), guests: byId(guest()), networks: byId(network()) });
    const state = commandState();
    expect(commandById('guest.start').label(state, { kind: 'guest', id: 'seed/web' })).toBe('Start web');
    expect(commandById('network.nat').label(state, { kind: 'nat', id: 'seed/br0' })).toBe(
      'Turn NAT of br0 off',
    );
    expect(verdict(commandById('guest.start'), state, null)).toBe('select a guest first');
  });

  it('cuts a cable that is whole and mends one that is cut', () => {
    const cable = { kind: 'link', id: 'seed/tap0' } as const;
    const words = (plugged: boolean): string => {
      const nics = guest().nics.map((nic) => ({ ...nic, plugged }));
      useTables.setState({ guests: byId(guest({ nics })), links: byId(linkRow('seed', 'tap0')) });
      return commandById('cable.link').label(commandState(), cable);
    };
    expect(words(true)).toBe('Cut the cable of web eth0');
    expect(words(false)).toBe('Mend the cable of web eth0');
    useTables.setState({ guests: byId(guest({ state: 'shut off' })) });
    expect(commandById('cable.link').enabledWhen(commandState(), cable)).toBe('the guest is shut off');
  });
});

describe('running a command', () => {
  let finish: () => void;
  let fail: (error: unknown) => void;
  let reached: boolean;
  const command: Command = {
    id: 'test.command',
    on: ['guest'],
    group: 'Guest',
    icon: commandById('guest.start').icon,
    label: () => 'Try web',
    enabledWhen: () => true,
    pendingWord: 'Trying…',
    run: () =>
      new Promise((resolve, reject) => {
        finish = resolve;
        fail = reject;
      }),
    reached: () => reached,
  };
  addCommands([command]);
  const subject = { kind: 'guest', id: 'seed/web' } as const;
  const key = 'guest:seed/web';

  beforeEach(async () => {
    const { rows, up } = labByName('seed');
    const { client } = await new FakeCore(rows, {}, up).connect();
    useCore.setState({ client, status: 'ready' });
    useUi.setState({ pending: new Map(), failures: new Map() });
    reached = false;
  });

  it('says so until the state is observed, not until the call has answered', async () => {
    const running = runCommand('test.command', subject);
    expect(useUi.getState().pending.get(key)).toEqual({ command: 'test.command', word: 'Trying…' });
    expect(verdict(command, commandState(), subject)).toBe('Trying…');
    finish();
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(useUi.getState().pending.has(key)).toBe(true);
    reached = true;
    useTables.setState({ guests: byId(guest({ state: 'paused' })) });
    await running;
    expect(useUi.getState().pending.has(key)).toBe(false);
  });

  it('keeps a failure with its subject until it is tried again', async () => {
    const running = runCommand('test.command', subject);
    fail(new TapyardError('QEMU_MISSING', 'QEMU is not installed.', { hint: 'Install qemu-system-x86.' }));
    await running;
    expect(useUi.getState().failures.get(key)).toEqual({
      title: 'Try web',
      error: { code: 'QEMU_MISSING', message: 'QEMU is not installed.', hint: 'Install qemu-system-x86.' },
    });
    const again = runCommand('test.command', subject);
    expect(useUi.getState().failures.has(key)).toBe(false);
    reached = true;
    finish();
    await again;
  });

  it('is not possible without a core', async () => {
    useCore.setState({ status: 'lost' });
    await runCommand('test.command', subject);
    expect(useUi.getState().announcement).toBe('there is no connection to the core');
    expect(verdict(commandById('view.map'), commandState(), null)).toBe(true);
  });

  it('does not run twice at once', async () => {
    const running = runCommand('test.command', subject);
    const before = finish;
    await runCommand('test.command', subject);
    expect(finish).toBe(before);
    expect(useUi.getState().announcement).toBe('Trying…');
    reached = true;
    finish();
    await running;
  });
});
