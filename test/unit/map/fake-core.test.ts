// SPDX-License-Identifier: Apache-2.0
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Connection } from '../../../electron/contract/client.ts';
import { TapyardError } from '../../../electron/contract/error.ts';
import type { GuestRow, NetworkRow } from '../../../electron/contract/rows.ts';
import { FakeCore, type FakeOptions } from '../../fakes/fake-core.ts';
import { lower, mockLab, seedLab } from '../../fakes/labs.ts';
import type { LabRows } from '../../fakes/rows.ts';

const open: Connection[] = [];
afterEach(() => {
  for (const connection of open.splice(0)) connection.close();
});

async function start(rows: LabRows, options: FakeOptions = {}, up?: LabRows) {
  const core = new FakeCore(rows, { guestMs: 20, ...options }, up);
  const connection = await core.connect();
  open.push(connection);
  return { core, client: connection.client };
}

describe('FakeCore', () => {
  it('shows its tables over the real wire and flips NAT when the kernel would have', async () => {
    const { client } = await start(mockLab());
    const seen: NetworkRow[] = [];
    client.tables.networks((change) => seen.push(...('full' in change ? change.full : change.put)));
    await vi.waitFor(() => expect(seen.length).toBe(2));
    const answer = await client.network.setNat({ lab: 'seed', network: 'br0', nat: false });
    expect(answer).toMatchObject({ nat: false, changed: true });
    await vi.waitFor(() => expect(seen.at(-1)).toMatchObject({ name: 'br0', observed: { nat: false } }));
  });

  it('starts a guest through "starting", and takes its tap away when it crashes', async () => {
    const { core, client } = await start(mockLab());
    const states: GuestRow['state'][] = [];
    client.tables.guests((change) => {
      for (const row of 'full' in change ? change.full : change.put)
        if (row.name === 'web') states.push(row.state);
    });
    await vi.waitFor(() => expect(states).toEqual(['running']));
    core.crashGuest('seed/web');
    expect(core.links.get('seed/tap0')).toBeUndefined();
    expect(core.networks.get('seed/br0')?.observed?.ports).toBe(2);
    await vi.waitFor(() => expect(states).toEqual(['running', 'crashed']));
    await client.guest.start({ lab: 'seed', guest: 'web' });
    await vi.waitFor(() => expect(states).toEqual(['running', 'crashed', 'starting', 'running']));
    expect(core.links.get('seed/tap0')?.master).toBe('br0');
  });

  it('brings a lab up and down as jobs', async () => {
    const { core, client } = await start(lower(seedLab()), {}, seedLab());
    await client.lab.up({ lab: 'seed' });
    await vi.waitFor(() => expect(core.guests.get('seed/guest')?.state).toBe('running'));
    expect(core.labs.get('seed')?.state).toBe('up');
    await client.lab.down({ lab: 'seed' });
    await vi.waitFor(() => expect(core.labs.get('seed')?.state).toBe('down'));
    expect(core.links.rows()).toEqual([]);
    await vi.waitFor(() => expect(core.jobs.rows().map((job) => job.state)).toEqual(['done', 'done']));
  });

  it('fails as told, by code', async () => {
    const { client } = await start(seedLab(), {
      failing: { 'guest.shutdown': new TapyardError('QMP_FAILED', 'QEMU does not answer.') },
    });
    await expect(client.guest.shutdown({ lab: 'seed', guest: 'guest' })).rejects.toMatchObject({
      code: 'QMP_FAILED',
    });
    await expect(client.guest.start({ lab: 'seed', guest: 'nobody' })).rejects.toMatchObject({
      code: 'NO_SUCH_GUEST',
    });
  });

  it('echoes what is typed on the serial line, at absolute offsets', async () => {
    const { client } = await start(seedLab());
    let text = '';
    let next = 0;
    const stream = client.consoles.serial(
      { lab: 'seed', guest: 'guest', from: 0 },
      {
        data(chunk, offset) {
          expect(offset).toBe(next);
          next += chunk.length;
          text += new TextDecoder().decode(chunk);
        },
        end() {},
      },
    );
    await vi.waitFor(() => expect(text).toContain('root@guest:~# '));
    stream.write(new TextEncoder().encode('frob\r'));
    await vi.waitFor(() => expect(text).toContain('frob\r\nsh: frob: not found\r\nroot@guest:~# '));
    stream.close();
  });

  it('speaks RFB far enough to show a screen', async () => {
    const { client } = await start(seedLab());
    const got = { length: 0 };
    const stream = client.consoles.screen(
      { lab: 'seed', guest: 'guest' },
      { data: (chunk) => void (got.length += chunk.length), end() {} },
    );
    await vi.waitFor(() => expect(got.length).toBe(12));
    stream.write(new TextEncoder().encode('RFB 003.008\n'));
    await vi.waitFor(() => expect(got.length).toBe(14));
    stream.write(new Uint8Array([1]));
    await vi.waitFor(() => expect(got.length).toBe(18));
    stream.write(new Uint8Array([1]));
    await vi.waitFor(() => expect(got.length).toBe(18 + 24 + 'guest'.length));
    stream.write(new Uint8Array([3, 0, 0, 0, 0, 0, 1, 64, 0, 200]));
    await vi.waitFor(() => expect(got.length).toBe(47 + 16 + 320 * 200 * 4));
    stream.close();
  });
});
