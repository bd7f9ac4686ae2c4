// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { TapyardError } from '../../../electron/contract/error.ts';
import type { ActRow } from '../../../electron/contract/act.ts';
import type {
  ForwardRow,
  GuestRow,
  LabRow,
  LinkRow,
  NetworkRow,
  StepRow,
} from '../../../electron/contract/rows.ts';
import { Table } from '../../../electron/core/host/table.ts';
import { Jobs } from '../../../electron/core/host/jobs.ts';
import type * as labFile from '../../../electron/core/lab/lab-file.ts';
import { Lab } from '../../../electron/core/lab/lab.ts';
import { LocalEngine } from '../../../electron/core/lab/local-engine.ts';

/** What a reading of the lab file waits for after it has read, as on a disk that is slow. */
let slowDisk: Promise<void> | undefined;
vi.mock('../../../electron/core/lab/lab-file.ts', async (original) => {
  const real = await original<typeof labFile>();
  return {
    ...real,
    loadLabFile: async (path: string) => {
      const loaded = await real.loadLabFile(path);
      await slowDisk;
      return loaded;
    },
  };
});

/** An engine of the host scope for a user who may not have it. */
class DeniedEngine extends LocalEngine {
  override preflight(): Promise<void> {
    return Promise.resolve();
  }
  override open(): Promise<never> {
    return Promise.reject(new TapyardError('HOST_SCOPE_DENIED', 'netd may not'));
  }
}

const seed = `name: seed
networks:
  br0: { subnet: 192.168.57.0/24 }  # mine
guests:
  a: { image: micro, nics: [{ network: br0 }] }
`;

/** With the real engine, and no netd: what a lab says of its file while it is down. */
describe('a lab that is down', () => {
  let dir: string;
  let file: string;
  let lab: Lab;
  let runtime: string | undefined;
  let scopes: string[];
  const tables = {
    labs: new Table<LabRow>(),
    networks: new Table<NetworkRow>(),
    links: new Table<LinkRow>(),
    guests: new Table<GuestRow>(),
    forwards: new Table<ForwardRow>(),
    steps: new Table<StepRow>(),
    acts: new Table<ActRow>(),
  };
  const row = (): LabRow | undefined => tables.labs.get('seed');
  const until = async (what: () => boolean): Promise<void> => {
    for (let left = 200; !what(); left--) {
      if (left === 0) throw new Error('it does not come');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };

  beforeEach(async () => {
    scopes = [];
    dir = mkdtempSync(join(tmpdir(), 'tyl-'));
    runtime = process.env['XDG_RUNTIME_DIR'];
    process.env['XDG_RUNTIME_DIR'] = dir;
    file = join(dir, 'tapyard.yaml');
    writeFileSync(file, seed);
    lab = await Lab.open({
      name: 'seed',
      file,
      scope: 'private',
      tables,
      engine: (scope, acts) => new (scope === 'host' ? DeniedEngine : LocalEngine)('seed', scope, acts),
      scopeChanged: async () => void scopes.push(lab.scope),
    });
  });
  afterEach(async () => {
    await lab.close();
    if (runtime === undefined) delete process.env['XDG_RUNTIME_DIR'];
    else process.env['XDG_RUNTIME_DIR'] = runtime;
    rmSync(dir, { recursive: true });
    expect(tables.labs.rows()).toEqual([]);
    expect(tables.steps.rows()).toEqual([]);
  });

  it('has a row for everything that it wants, and reasons why it is not there', () => {
    expect(row()).toMatchObject({ state: 'down', problems: [], error: null, uplink: null, scope: 'private' });
    expect(tables.networks.rows()).toMatchObject([
      { id: 'seed/br0', observed: null, reason: { code: 'LAB_NOT_UP' } },
    ]);
    expect(tables.guests.rows()).toMatchObject([
      { id: 'seed/a', state: 'shut off', nics: [{ tap: null, wantedTap: 'tap0' }] },
    ]);
    expect(tables.steps.rows().every((step) => step.state === 'pending' && step.holds !== true)).toBe(true);
  });

  it('keeps the last good definition while its file is broken', async () => {
    writeFileSync(file, `${seed}  b: { image: micro, cpu: 1 }\n`);
    await until(() => row()?.problems.length === 1);
    expect(row()?.problems[0]).toMatchObject({ line: 6, path: 'guests.b.cpu' });
    expect(tables.guests.rows().map((guest) => guest.name)).toEqual(['a']);
    await expect(lab.beforeUp(undefined)).rejects.toMatchObject({ code: 'LAB_FILE_INVALID' });
    writeFileSync(file, `${seed}  b: { image: micro, cpus: 2 }\n`);
    await until(() => row()?.problems.length === 0);
    expect(tables.guests.rows().map((guest) => guest.name)).toEqual(['a', 'b']);
    writeFileSync(file, seed.replace('name: seed', 'name: other'));
    await until(() => row()?.problems.length === 1);
    expect(row()?.problems[0]?.message).toBe('the lab is called "seed" and the file now says "other"');
    rmSync(file);
    await until(() => row()?.problems[0]?.message.includes('There is no lab file') === true);
    expect(tables.guests.rows()).toHaveLength(2);
  });

  it('takes a new guest, and gives it up again, only where the file was not changed meanwhile', async () => {
    const disk = Buffer.alloc(65_536);
    disk.writeUInt16LE(0xaa55, 510); // a boot signature makes it a raw disk
    writeFileSync(join(dir, 'disk.raw'), disk);
    const guest = { image: './disk.raw', nics: [{ network: 'br0', address: '192.168.57.9' }] };
    await expect(lab.createGuest('a', guest, row()?.fileHash ?? '')).rejects.toMatchObject({
      code: 'GUEST_NAME_TAKEN',
    });
    await expect(
      lab.createGuest('b', { image: './none.qcow2' }, row()?.fileHash ?? ''),
    ).rejects.toMatchObject({ code: 'IMAGE_MISSING' });
    const wrong = { ...guest, nics: [{ network: 'br7' }] };
    await expect(lab.createGuest('b', wrong, row()?.fileHash ?? '')).rejects.toMatchObject({
      code: 'LAB_FILE_INVALID',
    });
    await lab.createGuest('b', guest, row()?.fileHash ?? '');
    expect(readFileSync(file, 'utf8')).toContain('# mine');
    expect(tables.guests.get('seed/b')?.nics[0]).toMatchObject({
      address: '192.168.57.9',
      addressSource: 'reserved',
      leased: false,
    });
    await expect(lab.removeGuest('b', 'stale', async () => {})).rejects.toMatchObject({
      code: 'LAB_FILE_CHANGED',
    });
    let deleted = 0;
    await lab.removeGuest('b', row()?.fileHash ?? '', async () => void deleted++);
    expect([deleted, readFileSync(file, 'utf8')]).toEqual([1, seed]);
    expect(tables.guests.get('seed/b')).toBeUndefined();
  });

  it('keeps a new guest although an older reading of the file ends after it', async () => {
    let end = (): void => {};
    slowDisk = new Promise((resolve) => (end = resolve));
    const reload = lab.reload();
    await new Promise((resolve) => setTimeout(resolve, 20));
    slowDisk = undefined;
    await lab.createGuest('b', { image: 'micro' }, row()?.fileHash ?? '');
    end();
    await reload;
    expect(tables.guests.rows().map((guest) => guest.name)).toEqual(['a', 'b']);
  });

  it('takes a network, changes it with the addresses in it, and gives it up when nobody is on it', async () => {
    const hash = (): string => row()?.fileHash ?? '';
    const { free, used } = lab.subnets();
    expect(free).toMatch(/^10\.[0-9]+\.[0-9]+\.0\/24$/);
    expect(used).toContainEqual({ subnet: '127.0.0.0/8', by: 'lo' });
    await expect(lab.createNetwork('br0', { subnet: free }, hash())).rejects.toMatchObject({
      code: 'NETWORK_NAME_TAKEN',
    });
    const overlapping = lab.createNetwork('br1', { subnet: '192.168.57.128/25' }, hash());
    await expect(overlapping).rejects.toMatchObject({
      code: 'LAB_FILE_INVALID',
      message: expect.stringContaining('networks.br1.subnet: 192.168.57.128/25 overlaps'),
    });
    await expect(lab.createNetwork('br1', { subnet: free }, 'stale')).rejects.toMatchObject({
      code: 'LAB_FILE_CHANGED',
    });
    await lab.createNetwork('br1', { subnet: free, mode: 'isolated' }, hash());
    expect(tables.networks.get('seed/br1')).toMatchObject({
      definition: { subnet: free, mode: 'isolated' },
      observed: null,
    });
    await lab.addNic('a', { network: 'br1' }, hash());
    await lab.addNic('a', { network: 'br0', address: '192.168.57.9' }, hash());
    await expect(lab.removeNetwork('br1', hash())).rejects.toMatchObject({
      code: 'NETWORK_IN_USE',
      message: 'The network br1 stays: a has a NIC on it.',
    });
    const macs = (): unknown => tables.guests.get('seed/a')?.nics.map(({ mac }) => mac);
    const [first, , third] = tables.guests.get('seed/a')?.nics.map(({ mac }) => mac) ?? [];
    await lab.removeNic('a', 1, hash());
    expect(macs()).toEqual([first, third]);
    await expect(lab.removeNic('a', 2, hash())).rejects.toMatchObject({ code: 'NO_SUCH_NIC' });
    await lab.changeNetwork('br0', { subnet: '10.99.0.0/24', mode: 'nat' }, hash());
    expect(tables.guests.get('seed/a')?.nics[1]).toMatchObject({ address: '10.99.0.9' });
    expect(readFileSync(file, 'utf8')).toContain('br0: { subnet: 10.99.0.0/24 }  # mine');
    await lab.removeNetwork('br1', hash());
    expect(tables.networks.get('seed/br1')).toBeUndefined();
    await expect(lab.removeNetwork('br1', hash())).rejects.toMatchObject({ code: 'NO_SUCH_NETWORK' });
    await expect(lab.changeNetwork('br1', { subnet: free }, hash())).rejects.toMatchObject({
      code: 'NO_SUCH_NETWORK',
    });
  });

  it('refuses what needs it up', async () => {
    await expect(lab.startGuest('a', {})).rejects.toMatchObject({ code: 'LAB_NOT_UP' });
    await expect(lab.setNat('br0', false)).rejects.toMatchObject({ code: 'LAB_NOT_UP' });
    await expect(lab.setNat('br9', false)).rejects.toMatchObject({ code: 'NO_SUCH_NETWORK' });
    expect(() => lab.guest('b')).toThrow(expect.objectContaining({ code: 'NO_SUCH_GUEST' }));
  });

  it('goes back to its scope when it cannot be had in another', async () => {
    const jobs = new Jobs();
    await lab.beforeUp('host');
    expect(lab.scope).toBe('host');
    const id = jobs.start('lab.up', { lab: 'seed' }, (job) => lab.up(job, 0));
    await until(() => jobs.table.get(id)?.state === 'failed');
    expect(row()).toMatchObject({ scope: 'private', error: { code: 'HOST_SCOPE_DENIED' } });
    expect(scopes).toEqual(['host', 'private']);
  });

  it.each(['routed', 'bridged'])('is moved to the private scope only without a %s network', async (mode) => {
    const network = mode === 'routed' ? '{ mode: routed }' : '{ mode: bridged, uplink: br-lan }';
    writeFileSync(file, seed.replace('{ subnet: 192.168.57.0/24 }', network));
    await expect(lab.beforeMove('private')).rejects.toMatchObject({
      code: 'MODE_NEEDS_HOST_SCOPE',
      subject: 'br0',
    });
    await lab.beforeMove('host');
    writeFileSync(file, seed);
    await lab.beforeMove('private');
    expect(scopes).toEqual([]);
  });

  it('does one thing at a time, and down leaves nothing', async () => {
    const jobs = new Jobs();
    const id = jobs.start('lab.down', { lab: 'seed' }, (job) => lab.down(job, false));
    await Promise.resolve();
    expect(() => lab.beforeDown()).toThrow(expect.objectContaining({ code: 'LAB_BUSY' }));
    await expect(lab.startGuest('a', {})).rejects.toMatchObject({ code: 'LAB_BUSY' });
    await until(() => jobs.table.get(id)?.state === 'done');
    expect(row()?.state).toBe('down');
  });
});
