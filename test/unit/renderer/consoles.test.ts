// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import type { BytesHandlers, Client } from '../../../electron/contract/client.ts';
import { TapyardError } from '../../../electron/contract/error.ts';
import { ChordWatch } from '../../../renderer/features/consoles/release-chord.ts';
import { rfbChannel } from '../../../renderer/features/consoles/rfb-channel.ts';

describe('the release chord', () => {
  it('is both keys, let go with nothing in between', () => {
    const watch = new ChordWatch();
    watch.down('Control', true, false);
    watch.down('Alt', true, true);
    expect(watch.up('Alt')).toBe(true);
    expect(watch.up('Control')).toBe(false);
  });

  it('is not Ctrl+Alt+Del, nor one of the keys alone', () => {
    const watch = new ChordWatch();
    watch.down('Control', true, false);
    watch.down('Alt', true, true);
    watch.down('Delete', true, true);
    expect(watch.up('Delete')).toBe(false);
    expect(watch.up('Alt')).toBe(false);
    watch.down('Control', true, false);
    expect(watch.up('Control')).toBe(false);
  });

  it('is not a mouse button with both keys held', () => {
    const watch = new ChordWatch();
    watch.down('Control', true, false);
    watch.down('Alt', true, true);
    watch.cancel();
    expect(watch.up('Alt')).toBe(false);
  });
});

describe('rfbChannel', () => {
  function open() {
    let handlers: BytesHandlers | undefined;
    const written: Uint8Array[] = [];
    const state = { closed: false };
    const consoles: Pick<Client['consoles'], 'screen'> = {
      screen: (_, given) => {
        handlers = given;
        return { write: (chunk) => void written.push(chunk), close: () => void (state.closed = true) };
      },
    };
    const ends: (TapyardError | undefined)[] = [];
    const channel = rfbChannel({ consoles }, { lab: 'seed', guest: 'web' }, (error) => ends.push(error));
    return { channel, written, state, ends, handlers: () => handlers };
  }

  it('has what noVNC looks for as own properties', () => {
    const { channel } = open();
    for (const name of [
      'send',
      'close',
      'binaryType',
      'onerror',
      'onmessage',
      'onopen',
      'protocol',
      'readyState',
    ])
      expect(Object.keys(channel)).toContain(name);
    expect(channel.readyState).toBe('open');
  });

  it('hands noVNC the chunk alone, and keeps what it sends', () => {
    const { channel, written, handlers } = open();
    const got: number[][] = [];
    // eslint-disable-next-line unicorn/prefer-add-event-listener -- noVNC sets these properties
    channel.onmessage = ({ data }) => got.push([...new Uint8Array(data)]);
    handlers()?.data(new Uint8Array([9, 1, 2, 9]).subarray(1, 3), 0);
    expect(got).toEqual([[1, 2]]);
    const reused = new Uint8Array([5, 6]);
    channel.send(reused);
    reused.fill(0);
    expect([...(written[0] ?? [])]).toEqual([5, 6]);
  });

  it('closes once, with the reason', () => {
    const { channel, ends, handlers } = open();
    const closes: { code: number; reason: string }[] = [];
    // eslint-disable-next-line unicorn/prefer-add-event-listener -- noVNC sets these properties
    channel.onclose = ({ code, reason }) => closes.push({ code, reason });
    const error = new TapyardError('CONSOLE_CLOSED', 'QEMU is gone.');
    handlers()?.end(error);
    handlers()?.end(undefined);
    channel.close();
    expect(closes).toEqual([{ code: 1011, reason: 'QEMU is gone.' }]);
    expect(ends).toEqual([error]);
    expect(channel.readyState).toBe('closed');
  });
});
