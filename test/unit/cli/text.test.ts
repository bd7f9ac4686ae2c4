// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { TapyardError } from '../../../electron/contract/error.ts';
import type { StepRow } from '../../../electron/contract/rows.ts';
import { chooseOpening, electronProgram } from '../../../electron/cli/electron.ts';
import { Progress } from '../../../electron/cli/job.ts';
import { tunnelText } from '../../../electron/cli/browser.ts';
import { withoutQuestions } from '../../../electron/cli/replay.ts';
import { flowsText } from '../../../electron/cli/run/nat.ts';
import { listText } from '../../../electron/cli/run/ls.ts';
import { stepText } from '../../../electron/cli/run/recipe.ts';
import { topologyText } from '../../../electron/cli/run/topology.ts';
import { notReachable } from '../../../electron/cli/run/up.ts';
import { chooseLab } from '../../../electron/cli/select-lab.ts';
import {
  columns,
  duration,
  errorText,
  safe,
  safeLine,
  type Terminal,
} from '../../../electron/cli/terminal.ts';
import { guestRow, labRow, linkRow, networkRow, nicState } from '../../fakes/rows.ts';

/** A terminal that keeps what is written. */
function paper(interactive = false): Terminal & { text(): string } {
  let text = '';
  const write = (more: string): void => {
    text += more;
  };
  return { out: write, err: write, interactive, columns: 40, text: () => text };
}

describe('text from guests', () => {
  it('never reaches the terminal with control characters', () => {
    expect(safe('a\u001b[2Jb\u0007\r\u009bc\u202ed\n\te')).toBe('a\ufffd[2Jb\ufffd\ufffd\ufffdc\ufffdd\n\te');
    expect(safeLine('one\ntwo\tthree')).toBe('one two three');
    const bad = 'x\u001b]0;owned\u0007';
    const guest = guestRow('seed', 'web', [], { stateReason: bad });
    const lab = labRow('seed', { problems: [{ line: 1, column: 2, path: '', message: bad }] });
    for (const text of [
      listText([lab], [guest]),
      topologyText({ lab, networks: [], links: [], guests: [guest] }),
      errorText(new TapyardError('INTERNAL', bad, { hint: bad })),
    ]) {
      // oxlint-disable-next-line no-control-regex -- what must not be there
      expect(text).not.toMatch(/[\u0000-\u0008\u000b-\u001f]/);
    }
  });

  it('loses its questions to the terminal when it is shown again', () => {
    const seen = 'a\u001b[6nb\u001b[cc\u001b[>0qd\u001b]11;?\u0007e\u001b[31mf\u001b[2J\u001bZ\u0005g';
    const shown = Buffer.from(withoutQuestions(Buffer.from(seen))).toString();
    expect(shown).toBe('abc\u001b[>0qde\u001b[31mf\u001b[2Jg');
    const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => byte !== 5);
    expect(Uint8Array.from(withoutQuestions(bytes))).toEqual(bytes);
  });
});

describe('errors, columns and times', () => {
  it('read well', () => {
    const error = new TapyardError('QEMU_MISSING', 'qemu is not installed.', {
      hint: 'Install it.\nOr not.',
    });
    expect(errorText(error)).toBe(
      'tapyard: qemu is not installed. [QEMU_MISSING]\n  Install it.\n  Or not.\n',
    );
    expect(
      columns([
        ['A', 'BB'],
        ['ccc', ''],
      ]),
    ).toBe('A    BB\nccc\n');
    expect([0.31, 9.96, 240.4, 4230].map(duration)).toEqual(['0.3 ms', '10.0 ms', '240 ms', '4.2 s']);
  });
});

describe('flows that were cut', () => {
  it('are counted in words', () => {
    expect([0, 1, 2].map(flowsText)).toEqual(['', ', 1 flow cut', ', 2 flows cut']);
  });
});

describe('which lab is meant', () => {
  const lab = (name: string, state: 'up' | 'down') => ({ name, state, file: `/l/${name}.yaml` });
  const labs = [lab('a', 'down'), lab('b', 'up'), lab('c', 'down')];
  it('is the named one, else that of the file here, else the only one up, else the only one', () => {
    expect(chooseLab(labs, 'c', '/l/a.yaml')).toBe('c');
    expect(chooseLab(labs, undefined, '/l/a.yaml')).toBe('a');
    expect(chooseLab(labs, undefined, '/l/new.yaml')).toBeUndefined();
    expect(chooseLab(labs, undefined, undefined)).toBe('b');
    expect(chooseLab([lab('a', 'down')], undefined, undefined)).toBe('a');
  });
  it('is asked for where it cannot be told', () => {
    const none = (run: () => unknown): unknown => {
      try {
        return run();
      } catch (thrown) {
        return TapyardError.from(thrown).code;
      }
    };
    expect(none(() => chooseLab(labs, 'x', undefined))).toBe('NO_SUCH_LAB');
    expect(none(() => chooseLab([], undefined, undefined))).toBe('NO_SUCH_LAB');
    expect(none(() => chooseLab([lab('a', 'up'), lab('b', 'up')], undefined, undefined))).toBe(
      'LAB_AMBIGUOUS',
    );
    expect(none(() => chooseLab([lab('a', 'down'), lab('b', 'down')], undefined, undefined))).toBe(
      'LAB_AMBIGUOUS',
    );
  });
});

describe('the topology', () => {
  it('is a tree from the uplink to the guests, with what is missing and why', () => {
    const guest = guestRow('seed', 'web', [nicState(0, 'br0', 'tap0', '192.168.57.2')]);
    const off = guestRow('seed', 'db', [{ ...nicState(0, 'br0', 'tap1', null), tap: null, leased: false }], {
      state: 'shut off',
    });
    const plain = networkRow('seed', 'br0', '192.168.57.0/24');
    const door = { chain: 'ip filter FORWARD', firewall: 'ufw', state: 'open', command: null } as const;
    const bridge = { ...plain, observed: plain.observed && { ...plain.observed, doors: [door] } };
    const missing = { ...networkRow('seed', 'br1', '10.10.0.0/24'), observed: null };
    const tree = topologyText({
      lab: labRow('seed'),
      networks: [bridge, missing],
      links: [linkRow('seed', 'veth7', { master: 'br0', ours: null })],
      guests: [guest, off],
    });
    expect(tree).toContain('lab seed (');
    expect(tree).toMatch(/NAT on {2}192\.168\.57\.0\/24/);
    expect(tree).toMatch(/ ├─ tap0 ── web {2}running {2}192\.168\.57\.2/);
    expect(tree).toMatch(/\(tap1: not there\) ── db {2}shut off {2}no address/);
    expect(tree).toMatch(/veth7 ── not Tapyard’s/);
    expect(tree).toContain('└─ firewall ufw, ip filter FORWARD: would drop it, lets it through');
    expect(tree).toContain('br1 (not in the kernel)');
  });
});

describe('progress', () => {
  const step = (id: string, state: StepRow['state'], ms: number | null = null): StepRow => ({
    id,
    lab: 'seed',
    order: 0,
    title: id,
    command: 'true',
    network: null,
    guest: null,
    state,
    ms,
    holds: null,
    by: null,
    error: null,
  });

  it('tells each step once, and not what held before', () => {
    const terminal = paper();
    const progress = new Progress(terminal, [step('old', 'done'), step('bridge', 'pending')]);
    progress.step(step('old', 'done'));
    progress.step(step('bridge', 'doing'));
    progress.step(step('bridge', 'done', 0.3));
    progress.step(step('bridge', 'done', 0.3));
    progress.step(step('tap', 'pending'));
    progress.step(step('tap', 'failed', 12));
    progress.doing('never shown where lines cannot be rewritten');
    expect(terminal.text()).toBe('✓ bridge  0.3 ms\n✗ tap  12 ms\n');
  });

  it('rewrites its last line on a terminal, never longer than that', () => {
    const terminal = paper(true);
    const progress = new Progress(terminal, []);
    progress.doing(`waiting for a lease ${'x'.repeat(100)}`);
    progress.end();
    const [, line = ''] = terminal.text().split('\u001b[K');
    expect(line.replace('\r', '')).toHaveLength(39);
    expect(terminal.text().endsWith('\r\u001b[K')).toBe(true);
  });

  it('shows a step of the recipe with its command', () => {
    expect(stepText({ ...step('bridge br0', 'done', 0.3), holds: true })).toBe(
      '✓ bridge br0  (0.3 ms, holds now)\n    true\n',
    );
    const inGuest = { ...step('its route', 'pending'), by: 'by DHCP' };
    expect(stepText(inGuest)).toBe('· its route  (by DHCP)\n    true\n');
  });
});

describe('what keeps a lab that is up from being usable', () => {
  it('are crashed guests and those without the lease that they wait for', () => {
    const nic = { ...nicState(0, 'br0', 'tap0', null), leased: false };
    const guests = [
      guestRow('seed', 'a', [nic]),
      guestRow('seed', 'b', [{ ...nic, leased: true }]),
      guestRow('seed', 'c', []),
      guestRow('seed', 'd', [{ ...nic, network: 'br1' }]),
      guestRow('seed', 'e', [nic], { state: 'crashed', stateReason: 'killed by signal 9' }),
      guestRow('seed', 'f', [nic], { state: 'shut off' }),
      guestRow('seed', 'g', [nic], { wanted: false }),
    ];
    const networks = [
      networkRow('seed', 'br0', '192.168.57.0/24'),
      networkRow('seed', 'br1', '10.10.0.0/24', { dns: false }),
    ];
    expect(notReachable(guests, networks)).toEqual([
      'a has no DHCP lease',
      'e has crashed (killed by signal 9)',
    ]);
  });
});

describe('an address for who came by ssh', () => {
  it('says how to reach it, by the same port', () => {
    const origin = 'http://tapyard-1.localhost:4321';
    expect(tunnelText({ SSH_CONNECTION: '203.0.113.7 50000 203.0.113.2 22' }, origin)).toContain(
      'ssh -N -L 4321:127.0.0.1:4321 203.0.113.2\n',
    );
    expect(tunnelText({}, origin)).toBe('');
    expect(tunnelText({ SSH_CONNECTION: 'a b $(id) 22' }, origin)).toBe('');
    // Behind a unix socket there is no port to tell.
    expect(tunnelText({ SSH_CONNECTION: '::1 1 ::1 22' }, 'http://tapyard-1.localhost')).toBe('');
  });
});

describe('window or browser', () => {
  it('is decided by a runtime and a display, and says why', () => {
    expect(electronProgram({}, '/nowhere/dist/cli/tapyard.mjs')).toBeUndefined();
    expect(chooseOpening({ DISPLAY: ':0' }, undefined)).toMatchObject({ kind: 'browser' });
    expect(chooseOpening({}, '/electron').why).toContain('no display');
    // Where both are missing, a runtime would not help.
    expect(chooseOpening({}, undefined).why).toContain('no display');
    expect(chooseOpening({ WAYLAND_DISPLAY: 'wayland-0' }, '/electron')).toEqual({
      kind: 'window',
      program: '/electron',
      why: 'an Electron runtime and a display (WAYLAND_DISPLAY) are here',
    });
  });
});
