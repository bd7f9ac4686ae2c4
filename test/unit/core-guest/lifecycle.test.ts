// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import {
  afterEnd,
  afterEvent,
  announcesEnd,
  asleep,
  conditionOf,
  decide,
  refusal,
  type Condition,
} from '../../../electron/core/guest/lifecycle.ts';

const running: Condition = { state: 'running', reason: null };
const off = { kind: 'unknown' } as const;

/** What events, one after another, make of a running guest, and then its end. */
function story(...events: readonly [event: string, data?: Record<string, unknown>][]): Condition[] {
  let now = running;
  let announced = false;
  const all = events.map(([event, data = {}]) => {
    announced ||= announcesEnd({ event, data });
    now = afterEvent(now, { event, data });
    return now;
  });
  return [...all, afterEnd(now, announced, { kind: 'signal', signal: 'SIGKILL', number: 9 })];
}

describe('a guest’s story by QEMU’s events', () => {
  it('power button, power-off', () => {
    const [pressed, going, stopped, gone] = story(
      ['POWERDOWN'],
      ['SHUTDOWN', { guest: true, reason: 'guest-shutdown' }],
      ['STOP'],
    );
    expect(pressed).toEqual({ state: 'shutting down', reason: 'power button pressed' });
    expect(going).toEqual({ state: 'shutting down', reason: 'as asked' });
    expect(stopped).toBe(going);
    expect(gone).toEqual({ state: 'shut off', reason: 'as asked' });
  });

  it('power button, and a guest that reboots instead', () => {
    expect(story(['POWERDOWN'], ['RESET', { guest: true, reason: 'guest-reset' }])[1]).toEqual(running);
  });

  it('forced off', () => {
    expect(story(['SHUTDOWN', { guest: false, reason: 'host-qmp-quit' }]).at(-1)).toEqual({
      state: 'shut off',
      reason: 'forced off',
    });
  });

  it.each([
    ['an object without a text', { toString: 1, valueOf: 1 }],
    ['a member of every object', 'constructor'],
    ['its prototype', '__proto__'],
    ['an escape sequence', '\u001b]0;x\u0007'],
    ['a very long word', 'x'.repeat(100_000)],
    ['nothing', undefined],
  ])('a QEMU that was taken over gives %s as its reason', (_, reason) => {
    expect(story(['SHUTDOWN', { guest: true, reason }])[0]).toEqual({
      state: 'shutting down',
      reason: 'QEMU ended',
    });
  });

  it('killed', () => {
    expect(story()).toEqual([{ state: 'crashed', reason: 'killed by signal 9' }]);
    expect(afterEnd(running, false, off)).toEqual({ state: 'crashed', reason: 'QEMU is gone' });
    expect(afterEnd(running, false, { kind: 'exit', code: 1 }).state).toBe('crashed');
  });

  it('panic, which pauses; then killed', () => {
    const [panicked, stopped, gone] = story(['GUEST_PANICKED', { action: 'pause' }], ['STOP']);
    expect(panicked).toEqual({ state: 'crashed', reason: 'panicked' });
    expect(stopped).toBe(panicked);
    expect(gone).toBe(panicked);
  });

  it('panic, then reset', () => {
    expect(story(['GUEST_PANICKED'], ['STOP'], ['RESET'], ['RESUME'])[3]).toEqual(running);
  });

  it('pause and resume', () => {
    expect(story(['STOP'], ['RESUME']).slice(0, 2)).toEqual([{ state: 'paused', reason: null }, running]);
  });

  it('sleep and waking', () => {
    expect(story(['SUSPEND'], ['WAKEUP']).slice(0, 2)).toEqual([
      { state: 'paused', reason: asleep },
      running,
    ]);
    expect(conditionOf('suspended')).toEqual({ state: 'paused', reason: asleep });
  });

  it('a full disk says why it paused', () => {
    const [full, stopped] = story(['BLOCK_IO_ERROR', { action: 'stop', nospace: true }], ['STOP']);
    expect(full).toEqual({ state: 'paused', reason: 'the disk of this computer is full' });
    expect(stopped).toBe(full);
    expect(afterEvent(running, { event: 'BLOCK_IO_ERROR', data: { action: 'report' } })).toBe(running);
  });

  it('events that say nothing about the state change nothing', () => {
    for (const event of ['RTC_CHANGE', 'VNC_CONNECTED', 'NIC_RX_FILTER_CHANGED', 'X']) {
      expect(afterEvent(running, { event, data: {} })).toBe(running);
    }
  });
});

describe('query-status', () => {
  it.each([
    ['running', 'running'],
    ['paused', 'paused'],
    ['io-error', 'paused'],
    ['guest-panicked', 'crashed'],
    ['shutdown', 'shutting down'],
  ])('%s is %s', (status, state) => {
    expect(conditionOf(status).state).toBe(state);
  });
});

describe('verbs', () => {
  it('are idempotent where the wanted state is there, and refused where they make no sense', () => {
    expect(decide('start', 'shut off', false)).toBe('act');
    expect(decide('start', 'running', true)).toBe('holds');
    expect(decide('start', 'paused', true)).toBe('refuse');
    expect(decide('shutdown', 'shut off', false)).toBe('holds');
    expect(decide('shutdown', 'paused', true)).toBe('refuse');
    expect(decide('forceOff', 'crashed', true)).toBe('act');
    expect(decide('forceOff', 'crashed', false)).toBe('holds');
    expect(decide('reset', 'crashed', true)).toBe('act');
    expect(decide('reset', 'crashed', false)).toBe('refuse');
    expect(decide('resume', 'paused', true)).toBe('act');
    expect(decide('pause', 'paused', true)).toBe('holds');
  });

  it('say what to do instead', () => {
    expect(refusal('start', 'seed/guest', 'paused')).toMatchObject({
      code: 'GUEST_STATE',
      message: 'seed/guest is paused and cannot be started.',
      hint: 'Resume it first, or force it off.',
    });
  });
});
