// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { consoleRefusal } from '../../../electron/cli/run/console.ts';
import { listText } from '../../../electron/cli/run/ls.ts';
import { topologyText } from '../../../electron/cli/run/topology.ts';
import { undoneText } from '../../../electron/cli/run/up.ts';
import { afterEnd, afterEvent } from '../../../electron/core/guest/lifecycle.ts';
import { withForwards, withGuest } from '../../../electron/core/lab/edit.ts';
import { guestRow, labRow, networkRow, nicState } from '../../fakes/rows.ts';

/* What newcomers stumbled over. */

const broken = [
  { line: 3, column: 5, path: 'networks.br0', message: 'unknown key "subent"', expected: 'subnet' },
];

describe('a lab that is down and whose file is broken', () => {
  const lab = labRow('seed', { state: 'down', uplink: null, problems: broken });
  const problem = `${lab.file}:3:5: unknown key "subent"; expected: subnet\n`;

  it('is no empty one in ls', () => {
    expect(listText([lab], [])).toBe(`No guests: the lab file of seed has a mistake.\n${problem}`);
    expect(listText([], [])).toContain('tapyard up FILE');
  });

  it('is no empty one in topology', () => {
    const text = topologyText({ lab, networks: [], links: [], guests: [] });
    expect(text).toContain('lab seed (private, down)');
    expect(text).toContain(problem);
  });
});

describe('a cable that is cut', () => {
  const nic = { ...nicState(0, 'br0', 'tap0', '192.168.57.2'), plugged: false };
  const guest = guestRow('seed', 'web', [nic], { state: 'running', pid: 7, accelerator: 'tcg' });

  it('shows in the text of topology and ls', () => {
    const networks = [networkRow('seed', 'br0', '192.168.57.0/24')];
    const lab = labRow('seed');
    expect(topologyText({ lab, networks, links: [], guests: [guest] })).toMatch(/tap0 ─╳─ web {2}running/);
    expect(listText([lab], [guest])).toMatch(/br0\/tap0 \(cut\)/);
  });
});

describe('a guest that is off', () => {
  it('has no console, and the refusal says where its last words are', () => {
    const off = guestRow('seed', 'web', [], { state: 'shut off', pid: null });
    expect(consoleRefusal(off)).toMatchObject({
      code: 'GUEST_STATE',
      message: 'web is shut off: nobody reads what is typed.',
      hint: expect.stringContaining('tapyard start web'),
    });
    expect(consoleRefusal(off)?.hint).toContain(off.serialRecord);
    for (const state of ['running', 'starting', 'paused', 'shutting down'] as const)
      expect(consoleRefusal(guestRow('seed', 'web', [], { state, pid: 7 }))).toBeUndefined();
    // One that has panicked is there, to be looked at.
    expect(consoleRefusal(guestRow('seed', 'web', [], { state: 'crashed', pid: 7 }))).toBeUndefined();
  });

  it('was shut down by whoever asked for it', () => {
    const running = { state: 'running', reason: null } as const;
    const off = { event: 'SHUTDOWN', data: { guest: true, reason: 'guest-shutdown' } };
    const pressed = afterEvent(running, { event: 'POWERDOWN', data: {} });
    const end = { kind: 'exit', code: 0 } as const;
    expect(afterEnd(afterEvent(pressed, off), true, end)).toEqual({ state: 'shut off', reason: 'as asked' });
    expect(afterEnd(afterEvent(running, off), true, end)).toEqual({
      state: 'shut off',
      reason: 'by the guest',
    });
  });
});

it('what Ctrl+C undid is told in a last line', () => {
  expect(undoneText('seed', 'cancelled')).toBe('Undone: nothing of this up of seed is left.\n');
  expect(undoneText('seed', 'done')).toContain('tapyard down');
});

it('edits write lists in the style of the file', () => {
  const file =
    'name: seed\nnetworks:\n  br0: {}\nguests:\n  guest:\n    image: micro\n    nics: [{ network: br0 }]\n';
  const forward = { port: 8080, to: 80, address: '127.0.0.1' };
  expect(withForwards(file, 'guest', [forward])).toContain('    forwards: [{ port: 8080, to: 80 }]\n');
  const nics = [{ network: 'br0', address: '192.168.57.3' }];
  const made = withGuest(file, 'db', { image: './a, b.qcow2', nics });
  expect(made).toContain('    nics: [{ network: br0, address: 192.168.57.3 }]\n');
  expect(made).toContain('image: ./a, b.qcow2');
});
