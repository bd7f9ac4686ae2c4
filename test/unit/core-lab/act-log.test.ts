// SPDX-License-Identifier: Apache-2.0
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { LogText } from '../../../electron/cli/run/log.ts';
import { type ActRow, actBy } from '../../../electron/contract/act.ts';
import { ActLog, actsFile } from '../../../electron/core/lab/act-log.ts';
import { Table } from '../../../electron/core/host/table.ts';
import type { NetdAct } from '../../../electron/core/net/netd-acts.ts';

let dir: string;
let state: string | undefined;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tya-'));
  state = process.env['XDG_STATE_HOME'];
  process.env['XDG_STATE_HOME'] = dir;
});
afterEach(() => {
  if (state === undefined) delete process.env['XDG_STATE_HOME'];
  else process.env['XDG_STATE_HOME'] = state;
  rmSync(dir, { recursive: true });
});

const act = (seq: number, more: Partial<NetdAct> = {}): NetdAct => ({
  seq,
  time: 1_700_000_000_000 + seq,
  lab: 'seed',
  network: 'br0',
  by: { uid: 0, pid: 7, program: 'node', client: 'core' },
  what: `act ${seq}`,
  command: `command ${seq}`,
  error: null,
  ...more,
});

function open(): { table: Table<ActRow>; log: ActLog; whats: () => string[] } {
  const table = new Table<ActRow>();
  const log = new ActLog('seed', table, () => 'nft -f -');
  return { table, log, whats: () => table.rows().map(({ what }) => what) };
}

it('takes each act once, of its own lab and of none, and of each netd', () => {
  const { log, whats, table } = open();
  log.take([act(1), act(2, { lab: 'other' }), act(3, { lab: null, network: null })], 'a');
  log.take([act(1), act(3, { lab: null }), act(4)], 'a');
  log.take([act(1, { what: 'anew', recipe: 'filter', command: null, by: { cause: 'x' } })], 'b');
  expect(whats()).toEqual(['act 1', 'act 3', 'act 4', 'anew']);
  expect(table.rows().map(({ order }) => order)).toEqual([1, 2, 3, 4]);
  expect(table.get('seed/4')).toMatchObject({ command: 'nft -f -', by: null, cause: 'x' });
});

it('goes on where it was, past a line that a crash has cut', () => {
  open().log.take([act(1), act(2)], 'a');
  appendFileSync(actsFile('seed'), '{"row":{"id":"seed/3","la\n');
  const { log, whats } = open();
  expect(whats()).toEqual(['act 1', 'act 2']);
  log.take([act(1), act(2), act(3)], 'a');
  expect(open().whats()).toEqual(['act 1', 'act 2', 'act 3']);
});

it('has a bound, in memory and on the disk', () => {
  const { log, whats } = open();
  for (let seq = 1; seq <= 1000; seq++) log.take([act(seq)], 'a');
  expect(whats()).toHaveLength(300);
  expect(whats().at(-1)).toBe('act 1000');
  expect(readFileSync(actsFile('seed'), 'utf8').split('\n').length).toBeLessThanOrEqual(601);
  expect(open().whats()).toEqual(whats());
});

it('reads well, and nothing in it steers the terminal', () => {
  const { log, table } = open();
  const error = {
    code: 'BRIDGE_NOT_ALLOWED',
    message: 'not allowed\u001b[2J',
    hint: 'Add a line.\nThen again.',
  } as const;
  log.take([act(1), act(2, { command: null, error, what: 'refused\u202e open_tap' })], 'a');
  const [first, second] = table.rows();
  if (!first || !second) throw new Error('two acts have two rows');
  const text = new LogText();
  expect(text.of(first)).toMatch(
    /^\d{4}-\d\d-\d\d\n\d\d:\d\d:\d\d\.\d{3} {2}act 1\n {4}by root \(core, node 7\)\n {4}\$ command 1\n$/,
  );
  expect(text.of(second).split('\n').slice(1)).toEqual([
    '    by root (core, node 7)',
    '    not allowed\ufffd[2J [BRIDGE_NOT_ALLOWED]',
    '    /etc/tapyard/netd.conf says who may put guests on which bridge or interface of this computer.',
    '    Add a line.',
    '    Then again.',
    '',
  ]);
  expect(text.of(second)).toContain('✗ refused\ufffd open_tap');
  expect(actBy({ ...first, by: null, cause: 'its start' })).toBe('helper: its start');
});
