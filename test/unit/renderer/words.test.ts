// SPDX-License-Identifier: Apache-2.0
// @vitest-environment happy-dom
import { describe, expect, it } from 'vitest';
import { coalesce, spokenChanges } from '../../../renderer/app/LiveRegion.tsx';
import { hostNamesWords } from '../../../renderer/features/inspector/HostNames.tsx';
import '../../../renderer/commands/table.ts';
import { commandState } from '../../../renderer/commands/run.ts';
import {
  stepLine,
  stepMark,
  stepsOfGuest,
  stepTime,
} from '../../../renderer/features/inspector/recipe-words.ts';
import { failedJobs, jobShare, jobTitle } from '../../../renderer/features/jobs/job-words.ts';
import { findEntries, paletteEntries } from '../../../renderer/features/palette/entries.ts';
import {
  count,
  elideMiddle,
  formatBytes,
  formatDuration,
  formatMs,
  formatRate,
} from '../../../renderer/lib/format.ts';
import { useTables } from '../../../renderer/store/tables.ts';
import { byId, guest, job, lab, network, step } from './rows.ts';

describe('formats', () => {
  it.each([
    [0, '0'],
    [0.4, '0'],
    [999, '999 b/s'],
    [1000, '1 kb/s'],
    [310_000, '310 kb/s'],
    [999_700, '1 Mb/s'],
    [4_200_000, '4.2 Mb/s'],
    [12e9, '12 Gb/s'],
    [Number.NaN, '0'],
  ])('writes the rate %d as %s', (rate, text) => expect(formatRate(rate)).toBe(text));

  it('writes sizes, times and numbers of things', () => {
    expect(formatBytes(268_435_456)).toBe('256 MiB');
    expect(formatBytes(1.5 * 1024 ** 3)).toBe('1.5 GiB');
    expect(formatDuration(8000)).toBe('8 s');
    expect(formatDuration(12 * 60_000)).toBe('12 min');
    expect(formatDuration(185 * 60_000)).toBe('3 h 5 min');
    expect(formatDuration(-5)).toBe('0 s');
    expect(formatMs(0.3)).toBe('0.3 ms');
    expect(formatMs(61)).toBe('61 ms');
    expect(formatMs(2400)).toBe('2.4 s');
    expect(count(1, 'guest')).toBe('1 guest');
    expect(count(0, 'guest')).toBe('0 guests');
  });

  it('leaves out the middle of a name', () => {
    expect(elideMiddle('web', 10)).toBe('web');
    expect(elideMiddle('abcdefghijkl', 7)).toBe('abc…jkl');
    expect(elideMiddle('abcdefghijkl', 1)).toBe('…');
  });
});

describe('the recipe', () => {
  it('shows what the kernel holds now before what was once done', () => {
    expect(stepMark(step())).toMatchObject({ mark: '✓', tone: 'good' });
    expect(stepMark(step({ holds: false }))).toMatchObject({
      mark: '✗',
      word: 'was done, but does not hold now',
    });
    expect(stepMark(step({ state: 'pending', holds: true }))).toMatchObject({ mark: '✓' });
    expect(stepMark(step({ state: 'pending', holds: false }))).toMatchObject({ mark: '○' });
    expect(stepMark(step({ state: 'failed', holds: true }))).toMatchObject({ mark: '✗', word: 'failed' });
    expect(stepMark(step({ by: 'by DHCP', holds: null, ms: null }))).toMatchObject({
      mark: '○',
      word: 'by DHCP',
    });
    expect(stepTime(step({ by: 'by DHCP' }))).toBe('by DHCP');
    expect(stepTime(step({ ms: null }))).toBe('');
  });

  it('belongs to a guest with its networks', () => {
    const steps = [
      step(),
      step({ id: '1', network: 'seed/br1' }),
      step({ id: '2', network: null }),
      step({ id: '3', guest: 'seed/web' }),
      step({ id: '4', guest: 'seed/db' }),
    ];
    expect(stepsOfGuest(steps, guest()).map((one) => one.id)).toEqual(['seed/0', '2', '3']);
  });

  it('goes on one line', () => {
    expect(stepLine(step())).toBe('ip link add br0 type bridge');
    expect(stepLine(step({ command: 'ip link add br0\nip link set br0 up' }))).toBe('ip link add br0 …');
    expect(stepLine(step({ title: 'guest in QEMU', command: 'qemu \\\n  -m 256' }))).toBe('guest in QEMU');
    expect(stepLine(step({ title: 'filter and NAT', command: 'nft -f - <<E\ntable\nE' }))).toBe(
      'filter and NAT',
    );
  });
});

describe('jobs', () => {
  const error = { code: 'NETD_FAILED', message: 'netd is gone' };

  it('are told in words', () => {
    expect(jobTitle(job())).toBe('Bring up seed');
    expect(jobShare(job())).toBe(0.25);
    expect(jobShare(job({ total: 0 }))).toBe(null);
  });

  it('are failures only while nothing was done since', () => {
    const failed = job({ state: 'failed', error });
    expect(failedJobs([failed], lab())).toEqual([failed]);
    // The banner says it already.
    expect(failedJobs([failed], lab({ error: failed.error }))).toEqual([]);
    expect(failedJobs([failed, job({ id: '2', startedAt: 2 })], lab())).toEqual([]);
    expect(
      failedJobs([failed, job({ id: '2', name: 'lab.down', state: 'done', startedAt: 3 })], lab()),
    ).toEqual([]);
    expect(failedJobs([failed], lab({ id: 'other' }))).toEqual([]);
  });
});

describe('the palette', () => {
  useTables.setState({
    labs: byId(lab()),
    guests: byId(guest(), guest({ id: 'seed/db', name: 'db', state: 'shut off', pid: null, nics: [] })),
    networks: byId(network()),
  });
  const entries = paletteEntries({ ...commandState(), connected: true });
  const texts = (query: string): readonly string[] => findEntries(entries, query).map((entry) => entry.text);

  it('finds things by name, address and kind', () => {
    expect(texts('web')[0]).toBe('web');
    expect(texts('192.168.57.2')).toContain('web');
    expect(texts('br0')[0]).toBe('br0');
  });

  it('finds commands by their words, those that can be run before those that cannot', () => {
    expect(texts('start')[0]).toBe('Start db');
    expect(texts('shut web')).toEqual(['Shut down web']);
    expect(texts('zzz')).toEqual([]);
    expect(entries.find((entry) => entry.text === 'Start web')).toMatchObject({
      enabled: false,
      detail: 'web is running',
    });
  });

  it('has an id of its own for each entry', () => {
    expect(new Set(entries.map((entry) => entry.id)).size).toBe(entries.length);
  });
});

describe('what is spoken', () => {
  it('is the change of a state, not the first sight of it', () => {
    const before = { ...useTables.getState(), guests: byId(guest()), networks: byId(network()) };
    const observed = network().observed;
    const after = {
      ...before,
      guests: byId(guest({ state: 'crashed' }), guest({ id: 'seed/new', name: 'new' })),
      networks: byId(network({ observed: observed && { ...observed, nat: false } })),
    };
    expect(spokenChanges(before, after)).toEqual(['web is crashed', 'NAT of br0 is off']);
    expect(spokenChanges(after, after)).toEqual([]);
  });

  it('is one sentence for many', () => {
    expect(coalesce(['a', 'b', 'a'])).toBe('a. b');
    expect(coalesce(['a', 'b', 'c', 'd', 'e', 'f', 'g'])).toBe('a. b. c, and 4 more changes');
  });
});

it('whether this computer resolves the guests’ names, and how', () => {
  const names = (state: 'set' | 'asking' | 'refused', reason: string | null = null): string => {
    const { value, note } = hostNamesWords('host', { state, command: null, reason });
    return `${value} ${note}`;
  };
  expect(names('set')).toBe('guest.lab by systemd-resolved');
  expect(names('asking')).toContain('asking…');
  expect(names('refused', 'Link br0 is managed.')).toBe('none systemd-resolved: Link br0 is managed.');
  expect(hostNamesWords('host', null).note).toContain('systemd-resolved does not run');
  expect(hostNamesWords('private', null).note).toContain('no route into a private lab');
});
