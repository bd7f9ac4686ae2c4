// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { GuestStatus } from '../../../electron/core/guest/spec.ts';
import { StepRecords } from '../../../electron/core/lab/step-records.ts';
import { readStepTimes, removeStepTimes, writeStepTimes } from '../../../electron/core/lab/step-times.ts';

const status = (part: Partial<GuestStatus>): GuestStatus => ({
  state: 'running',
  reason: null,
  since: 0,
  pid: 4711,
  accelerator: 'tcg',
  taps: [],
  cut: [],
  sockets: { serial: '', vnc: '', qmp: '', plug: '' },
  serialRecord: '',
  error: null,
  argv: null,
  startMs: null,
  ...part,
});

const started = status({
  startMs: 61,
  taps: [
    {
      nic: 0,
      network: 'br0',
      mac: '52:54:00:00:00:01',
      tap: 'tap0',
      ifindex: 3,
      fd: 10,
      steps: [{ id: 'tap', ms: 0.2, changed: true }],
    },
  ],
});

describe('the times of the steps', () => {
  let dir: string;
  let runtime: string | undefined;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'tys-'));
    runtime = process.env['XDG_RUNTIME_DIR'];
    process.env['XDG_RUNTIME_DIR'] = dir;
  });
  afterEach(() => {
    if (runtime === undefined) delete process.env['XDG_RUNTIME_DIR'];
    else process.env['XDG_RUNTIME_DIR'] = runtime;
    rmSync(dir, { recursive: true });
  });

  it('are shown by the core that comes after, until the lab is down or the guest is off', () => {
    const first = new StepRecords('seed');
    first.put('br0/bridge', { ms: 0.3 });
    first.put('br0/dns', { error: { code: 'DNSMASQ_MISSING', message: 'dnsmasq is missing' } });
    writeStepTimes('seed', first.times([['web', started]]));
    const path = join(dir, 'tapyard/labs/seed/step-times.json');
    expect(statSync(path).mode & 0o777).toBe(0o600);

    const times = readStepTimes('seed');
    expect(times).toMatchObject({
      networks: { 'br0/bridge': 0.3 },
      guests: { web: { 'web/0/tap': 0.2, 'web/qemu': 61 } },
    });
    const next = new StepRecords('seed');
    if (times) next.recall(times);
    const adopted = next.with([['web', status({})]]);
    expect([...adopted].map(([id, { state, ms }]) => [id, state, ms])).toEqual([
      ['seed/br0/bridge', 'done', 0.3],
      ['seed/web/0/tap', 'done', 0.2],
      ['seed/web/qemu', 'done', 61],
    ]);
    expect([...next.with([['web', status({ state: 'shut off', pid: null })]]).keys()]).toEqual([
      'seed/br0/bridge',
    ]);
    // A guest that this core has started again knows better.
    expect(next.with([['web', status({ startMs: 40 })]]).get('seed/web/qemu')?.ms).toBe(40);
    next.clear();
    expect(next.with([['web', status({})]]).size).toBe(0);

    removeStepTimes('seed');
    expect(readStepTimes('seed')).toBeUndefined();
  });

  it('are none where the file is broken or of another version', () => {
    writeStepTimes('seed', { networks: {}, guests: {} });
    const path = join(dir, 'tapyard/labs/seed/step-times.json');
    for (const text of [
      '{',
      '{"version":2,"networks":{},"guests":{}}',
      '{"version":1,"networks":{"a":"b"}}',
    ]) {
      writeFileSync(path, text);
      expect(readStepTimes('seed')).toBeUndefined();
    }
  });
});
