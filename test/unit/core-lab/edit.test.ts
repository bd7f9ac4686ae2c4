// SPDX-License-Identifier: Apache-2.0
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readLabFile } from '../../../electron/core/lab/definition.ts';
import {
  withChangedNetwork,
  withForwards,
  withGuest,
  withNat,
  withNetwork,
  withNic,
  withoutGuest,
  withoutNetwork,
  withoutNic,
} from '../../../electron/core/lab/edit.ts';
import { editLabFile, loadLabFile, watchLabFile } from '../../../electron/core/lab/lab-file.ts';
import { readStore, writeStore } from '../../../electron/core/lab/store.ts';

const seed = `# my lab
name:   seed
networks:
  br0: { subnet: "192.168.57.0/24", nat: true }     # the host is .1
  br1:
      # office
      subnet: 10.0.0.0/24   # wide
      mtu: 1400
guests:
    # the first
    guest:
      image: micro      # built in
      nics: [{ network: br0,   address: 192.168.57.2 }]
# the end
`;

function diff(edited: string): string[] {
  const before = new Set(seed.split('\n'));
  const after = new Set(edited.split('\n'));
  return [
    ...[...before].filter((line) => !after.has(line)).map((line) => `-${line}`),
    ...[...after].filter((line) => !before.has(line)).map((line) => `+${line}`),
  ];
}

describe('an edit changes only what it must', () => {
  it('for NAT', () => {
    expect(diff(withNat(seed, 'br0', false))).toEqual([
      '-  br0: { subnet: "192.168.57.0/24", nat: true }     # the host is .1',
      '+  br0: { subnet: "192.168.57.0/24", nat: false }     # the host is .1',
    ]);
    expect(diff(withNat(seed, 'br1', false))).toEqual(['+      nat: false']);
    expect(withNat(seed, 'br1', true)).toBe(seed);
    expect(withNat(withNat(seed, 'br0', false), 'br0', true)).toBe(seed);
    const short = 'name: a\nnetworks: {br0: {subnet: 10.0.0.0/24}}';
    expect(withNat(short, 'br0', false)).toBe('name: a\nnetworks: {br0: {subnet: 10.0.0.0/24, nat: false}}');
  });

  it('for forwards', () => {
    const one = withForwards(seed, 'guest', [{ port: 8080, to: 80, address: '127.0.0.1' }]);
    expect(diff(one)).toEqual(['+      forwards: [{ port: 8080, to: 80 }]']);
    const two = withForwards(one, 'guest', [
      { port: 8080, to: 80 },
      { port: 8080, address: '0.0.0.0', protocol: 'udp' },
      { port: 22, to: 22, address: '0.0.0.0', protocol: 'tcp' },
    ]);
    expect(diff(two)).toEqual([
      '+      forwards: [{ port: 8080, to: 80 }, { port: 8080, address: 0.0.0.0, protocol: udp }, { port: 22, address: 0.0.0.0 }]',
    ]);
    expect(withForwards(two, 'guest', [])).not.toContain('forwards');
    expect(withForwards(two, 'guest', [])).toContain('# built in');
    expect(readLabFile(Buffer.from(two)).definition?.guests['guest']?.forwards).toEqual([
      { port: 8080, to: 80, address: '127.0.0.1', protocol: 'tcp' },
      { port: 8080, address: '0.0.0.0', protocol: 'udp' },
      { port: 22, address: '0.0.0.0', protocol: 'tcp' },
    ]);
  });

  it('for a new guest', () => {
    const guest = { image: './a b.qcow2', memory: '2G', nics: [{ network: 'br1', address: '10.0.0.7' }] };
    const edited = withGuest(seed, 'web', guest);
    expect(diff(edited)).toEqual([
      '+    web:',
      '+      image: ./a b.qcow2',
      '+      memory: 2G',
      '+      nics: [{ network: br1, address: 10.0.0.7 }]',
    ]);
    expect(edited.indexOf('web:')).toBeLessThan(edited.indexOf('# the end'));
    expect(withoutGuest(edited, 'web')).toBe(seed);
    for (const text of [
      'name: a\n',
      'name: a\nguests: {}\n',
      'name: a\nguests: {x: {image: micro}}\n',
      '{name: a}',
    ]) {
      const { definition, problems } = readLabFile(
        new TextEncoder().encode(withGuest(text, 'web', { image: 'micro' })),
      );
      expect(problems).toEqual([]);
      expect(definition?.guests['web']).toMatchObject({ image: 'micro' });
    }
  });

  it('for the last guest of all', () => {
    const { definition } = readLabFile(new TextEncoder().encode(withoutGuest(seed, 'guest')));
    expect(definition).toMatchObject({ name: 'seed', guests: {} });
    expect(withoutGuest(seed, 'guest')).toContain('# my lab');
  });

  it('for a new network, and for one that goes', () => {
    const edited = withNetwork(seed, 'br2', { subnet: '10.2.0.0/24', mode: 'isolated', mtu: 1500 });
    expect(diff(edited)).toEqual(['+  br2: { subnet: 10.2.0.0/24, mode: isolated }']);
    expect(edited.indexOf('br2')).toBeLessThan(edited.indexOf('guests:'));
    expect(withoutNetwork(edited, 'br2')).toBe(seed);
    expect(diff(withoutNetwork(seed, 'br1'))).toEqual([
      '-  br1:',
      '-      # office',
      '-      subnet: 10.0.0.0/24   # wide',
      '-      mtu: 1400',
    ]);
    for (const text of ['name: a\n', 'name: a\nnetworks: {}\n', '{name: a}', 'name: a\nguests: {}\n']) {
      const network = { subnet: '10.2.0.0/24', dhcp: { from: '10.2.0.8', to: '10.2.0.9' } };
      const { definition } = readLabFile(Buffer.from(withNetwork(text, 'br2', network)));
      expect(definition?.networks['br2']).toEqual({ ...network, mode: 'nat' });
      expect(
        readLabFile(Buffer.from(withoutNetwork(withNetwork(text, 'br2', network), 'br2'))),
      ).toMatchObject({ definition: { networks: {} } });
    }
  });

  it('for a network that becomes another, key by key', () => {
    expect(withChangedNetwork(seed, 'br0', { subnet: '192.168.57.0/24', mode: 'nat', mtu: 1500 })).toBe(seed);
    expect(diff(withChangedNetwork(seed, 'br0', { subnet: '10.7.0.0/24', nat: true, mtu: 9000 }))).toEqual([
      '-  br0: { subnet: "192.168.57.0/24", nat: true }     # the host is .1',
      '+  br0: { subnet: 10.7.0.0/24, nat: true, mtu: 9000 }     # the host is .1',
    ]);
    expect(diff(withChangedNetwork(seed, 'br0', { subnet: '192.168.57.0/24', mode: 'isolated' }))).toEqual([
      '-  br0: { subnet: "192.168.57.0/24", nat: true }     # the host is .1',
      '+  br0: { subnet: "192.168.57.0/24", nat: true, mode: isolated }     # the host is .1',
    ]);
    const off = withChangedNetwork(seed, 'br1', { subnet: '10.0.0.0/24', dhcp: false });
    expect(diff(off)).toEqual(['-      mtu: 1400', '+      dhcp: false']);
    const range = { from: '10.0.0.8', to: '10.0.0.9' };
    const ranged = withChangedNetwork(off, 'br1', { subnet: '10.0.0.0/24', dhcp: range });
    expect(ranged).toContain('      dhcp: { from: 10.0.0.8, to: 10.0.0.9 }\n');
    expect(withChangedNetwork(ranged, 'br1', { subnet: '10.0.0.0/24', dhcp: false })).toBe(off);
    expect(ranged).toContain('# office');
  });

  it('for NICs', () => {
    const two = withNic(seed, 'guest', { network: 'br1' });
    expect(diff(two)).toEqual([
      '-      nics: [{ network: br0,   address: 192.168.57.2 }]',
      '+      nics: [{ network: br0,   address: 192.168.57.2 }, { network: br1 }]',
    ]);
    const macs = ['52:54:00:00:00:01', '52:54:00:00:00:02'];
    expect(withoutNic(two, 'guest', 1, macs)).toBe(seed);
    expect(diff(withoutNic(two, 'guest', 0, macs))).toEqual([
      '-      nics: [{ network: br0,   address: 192.168.57.2 }]',
      '+      nics: [{ network: br1, mac: 52:54:00:00:00:02 }]',
    ]);
    expect(withoutNic(seed, 'guest', 0, ['52:54:00:00:00:01'])).not.toContain('nics');
    const block = 'name: a\nguests:\n  g:\n    image: micro\n    nics:\n      - network: br0 # first\n';
    expect(withNic(block, 'g', { network: 'br1' })).toBe(`${block}      - { network: br1 }\n`);
    expect(withoutNic(withNic(block, 'g', { network: 'br1' }), 'g', 1, macs)).toContain(
      '- network: br0 # first',
    );
  });

  it('with aliases falls back to what the parser knows', () => {
    const text = 'name: a\nnetworks:\n  br0: &n { subnet: 10.0.0.0/24, nat: &on true }\nguests: {}\n';
    expect(
      readLabFile(new TextEncoder().encode(withNat(text, 'br0', false))).definition?.networks['br0']?.nat,
    ).toBe(false);
  });
});

describe('the file', () => {
  let dir: string;
  beforeAll(() => (dir = mkdtempSync(join(tmpdir(), 'tapyard-edit-'))));
  afterAll(() => rmSync(dir, { recursive: true }));

  it('keeps its mode, is guarded by its hash, and stays when the edit would break it', async () => {
    const path = join(dir, 'lab.yaml');
    writeFileSync(path, seed);
    chmodSync(path, 0o640);
    const { hash } = await loadLabFile(path);
    const after = await editLabFile(path, hash, (text) => withNat(text, 'br0', false));
    expect(statSync(path).mode & 0o777).toBe(0o640);
    expect(after.hash).toBe((await loadLabFile(path)).hash);
    await expect(editLabFile(path, hash, (text) => withNat(text, 'br0', true))).rejects.toMatchObject({
      code: 'LAB_FILE_CHANGED',
    });
    const bad = { image: 'micro', nics: [{ network: 'nowhere' }] };
    await expect(editLabFile(path, after.hash, (text) => withGuest(text, 'x', bad))).rejects.toMatchObject({
      code: 'LAB_FILE_INVALID',
    });
    expect((await loadLabFile(path)).hash).toBe(after.hash);
  });

  it('has each of the edits that were asked for at once', async () => {
    const path = join(dir, 'at-once.yaml');
    writeFileSync(path, seed);
    const names = ['x', 'y', 'z'];
    await Promise.all(
      names.map((name) => editLabFile(path, undefined, (text) => withGuest(text, name, { image: 'micro' }))),
    );
    expect(Object.keys((await loadLabFile(path)).reading.definition?.guests ?? {})).toEqual(
      expect.arrayContaining(names),
    );
  });

  it('that is not a file is refused at once', async () => {
    await expect(loadLabFile(join(dir, 'none.yaml'))).rejects.toMatchObject({ code: 'LAB_FILE_MISSING' });
    await expect(loadLabFile(dir)).rejects.toMatchObject({ code: 'LAB_FILE_UNREADABLE' });
    await expect(loadLabFile('/dev/zero')).rejects.toMatchObject({ code: 'LAB_FILE_UNREADABLE' });
  });

  it('is watched, also when an editor replaces it', async () => {
    const path = join(dir, 'watched.yaml');
    writeFileSync(path, seed);
    let settle: () => void = () => {};
    const next = (): Promise<void> => new Promise((resolve) => (settle = resolve));
    const watcher = watchLabFile(path, () => settle());
    const first = next();
    await editLabFile(path, undefined, (text) => withNat(text, 'br0', false));
    await first;
    const second = next();
    writeFileSync(path, seed);
    await second;
    watcher.close();
  });

  it('of known labs is kept, and set aside when broken', async () => {
    const path = join(dir, 'state/labs.json');
    expect(readStore(path)).toEqual({ labs: [], error: undefined });
    const labs = [{ name: 'seed', file: '/x/y.yaml', scope: 'host' as const }];
    await writeStore(labs, path);
    expect(readStore(path)).toEqual({ labs, error: undefined });
    writeFileSync(path, '{"version":1,"labs":[{"name":"../x"}]}');
    const { labs: none, error } = readStore(path);
    expect(none).toEqual([]);
    expect(error).toMatchObject({ code: 'STATE_FILE_INVALID' });
    const aside = /kept as (\S+)\. /.exec(error?.hint ?? '')?.[1] ?? '';
    expect(readFileSync(aside, 'utf8')).toContain('../x');
    expect(readStore(path)).toEqual({ labs: [], error: undefined });
    mkdirSync(join(dir, 'is-a-dir'));
    expect(readStore(join(dir, 'is-a-dir')).error).toMatchObject({ code: 'STATE_FILE_INVALID' });
  });
});
