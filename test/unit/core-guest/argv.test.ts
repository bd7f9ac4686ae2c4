// SPDX-License-Identifier: Apache-2.0
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { optionValue, qemuArgv, type QemuPlan } from '../../../electron/core/guest/argv.ts';
import { plug, tapArgv } from '../../../electron/core/guest/launch.ts';

const plan: QemuPlan = {
  program: '/usr/bin/qemu-system-x86_64',
  lab: 'seed',
  name: 'guest',
  accelerator: { use: 'tcg', cpu: 'max', why: '' },
  memory: 256 * 1024 * 1024,
  cpus: 1,
  media: {
    kind: 'kernel',
    kernel: '/m/vmlinuz',
    initramfs: '/m/initramfs.img',
    append: 'console=ttyS0',
    authorizedKeys: '/k/id.pub',
  },
  nics: plug([{ index: 0, network: 'br0', mac: '52:54:00:00:00:01', tap: 'tap0' }], false),
  sockets: { serial: '/r/serial.in', vnc: '/r/vnc.sock', qmp: '/r/qmp.sock', plug: '/r/nic.sock' },
};

/** Splits an option list as QEMU's QemuOpts does: a comma separates unless it is doubled. */
function options(list: string): string[] {
  const parts = [''];
  for (let at = 0; at < list.length; at++) {
    const doubled = list[at] === ',' && list[at + 1] === ',';
    if (list[at] === ',' && !doubled) parts.push('');
    else parts.push(`${parts.pop() ?? ''}${list[at] ?? ''}`);
    if (doubled) at++;
  }
  return parts;
}

const valuesAfter = (argv: readonly string[], flag: string): string[] =>
  argv.filter((_, index) => argv[index - 1] === flag);

describe('QEMU’s command line', () => {
  const argv = qemuArgv(plan);

  it('denies all that a guest’s QEMU never needs, and opens no port', () => {
    expect(valuesAfter(argv, '-sandbox')).toEqual([
      'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
    ]);
    expect(argv).toContain('-nodefaults');
    expect(argv).toContain('-no-user-config');
    expect(argv).not.toContain('-k');
    expect(valuesAfter(argv, '-vnc')).toEqual(['unix:/r/vnc.sock,share=force-shared']);
    for (const word of argv) expect(word).not.toMatch(/(^|[=,])(tcp|telnet|websocket|udp|nbd|host):/);
  });

  it('gives each NIC its tap’s file descriptor, a port that it can be unplugged from, and no option ROM', () => {
    expect(valuesAfter(argv, '-netdev')).toEqual(['tap,id=net0,fd=10']);
    expect(argv).toContain('virtio-net-pci,id=nic0,bus=port0,netdev=net0,mac=52:54:00:00:00:01,romfile=');
  });

  it('tells the micro guest its name and its key', () => {
    expect(valuesAfter(argv, '-append')).toEqual(['console=ttyS0 tapyard.name=guest']);
    expect(valuesAfter(argv, '-fw_cfg')).toEqual(['name=opt/tapyard/authorized_keys,file=/k/id.pub']);
  });

  it('rounds memory up to MiB', () => {
    expect(valuesAfter(qemuArgv({ ...plan, memory: 1 }), '-m')).toEqual(['1M']);
    expect(valuesAfter(argv, '-m')).toEqual(['256M']);
  });

  it('boots an overlay before its ISO, and trims', () => {
    const disk = qemuArgv({ ...plan, media: { kind: 'disk', disk: '/d/disk.qcow2', cdrom: '/i/x.iso' } });
    const [overlay, iso] = valuesAfter(disk, '-blockdev').map((text): unknown => JSON.parse(text));
    expect(overlay).toMatchObject({
      driver: 'qcow2',
      discard: 'unmap',
      'detect-zeroes': 'unmap',
      'read-only': false,
    });
    expect(iso).toMatchObject({ driver: 'raw', 'read-only': true, file: { filename: '/i/x.iso' } });
    expect(disk).toContain('virtio-blk-pci,drive=disk0,bootindex=1');
    expect(disk).toContain('ide-cd,drive=cdrom0,bootindex=2');
  });

  it('never lets a path become another option', () => {
    const hostile = fc.string({ unit: fc.constantFrom(',', '=', 'a', ' ', '"', '\\', ':', '-', '\n') });
    fc.assert(
      fc.property(hostile, (text) => {
        expect(options(`path=${optionValue(text)},server=on`)).toEqual([`path=${text}`, 'server=on']);
        const path = `/${text}`;
        const line = qemuArgv({
          ...plan,
          media: { kind: 'disk', disk: path, cdrom: path },
          sockets: { serial: path, vnc: path, qmp: path, plug: path },
        });
        // As many words as ever, and every path whole in its place.
        expect(line).toHaveLength(
          qemuArgv({ ...plan, media: { kind: 'disk', disk: '/d', cdrom: '/i' } }).length,
        );
        expect(valuesAfter(line, '-chardev').map(options)).toEqual([
          ['socket', 'id=qmp', `path=${path}`, 'server=on', 'wait=off'],
          ['socket', 'id=plug', `path=${path}`, 'server=on', 'wait=off'],
          ['stdio', 'id=serial0'],
        ]);
        expect(options(valuesAfter(line, '-vnc')[0] ?? '')).toEqual([`unix:${path}`, 'share=force-shared']);
        for (const json of valuesAfter(line, '-blockdev')) {
          expect(JSON.parse(json)).toMatchObject({ file: { driver: 'file', filename: path } });
        }
      }),
    );
  });
});

describe('tapyard-tap’s command line', () => {
  const spec = {
    lab: 'seed',
    name: 'guest',
    image: { kind: 'micro', label: 'Micro guest' },
    memory: 1,
    cpus: 1,
    nics: [
      { index: 0, network: 'br0', mac: '52:54:00:00:00:01', tap: 'tap0' },
      { index: 2, network: 'br1', mac: '52:54:00:00:00:02', tap: 'tap7' },
    ],
    netdSocket: '/r/netd.sock',
  } as const;

  it('asks netd for each tap and ends with QEMU’s line', () => {
    expect(tapArgv(spec, plug(spec.nics, false), ['/q', '-x'])).toEqual([
      'exec',
      '--netd',
      '/r/netd.sock',
      '--lab',
      'seed',
      '--guest',
      'guest',
      '--tap',
      '10:0:br0:52:54:00:00:00:01:tap0',
      '--tap',
      '11:2:br1:52:54:00:00:00:02:tap7',
      '--report',
      '3',
      '--',
      '/q',
      '-x',
    ]);
  });

  it('asks for /dev/vhost-net at numbers that no tap has', () => {
    const nics = plug(spec.nics, true);
    const argv = tapArgv(spec, nics, ['/q']);
    expect(valuesAfter(argv, '--vhost')).toEqual(['12', '13']);
    expect(valuesAfter(qemuArgv({ ...plan, nics }), '-netdev')).toEqual([
      'tap,id=net0,fd=10,vhost=on,vhostfd=12',
      'tap,id=net2,fd=11,vhost=on,vhostfd=13',
    ]);
  });
});
