// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { TapyardError } from '../../../electron/contract/error.ts';
import type { Plan } from '../../../electron/core/guest/prepare.ts';
import { readLabFile } from '../../../electron/core/lab/definition.ts';
import { recipeOf, type RecipeInput } from '../../../electron/core/lab/recipe.ts';
import { recipeScript } from '../../../electron/core/lab/recipe-script.ts';
import { resolveLab } from '../../../electron/core/lab/resolve.ts';
import { shellComment, shellLines, shellWord } from '../../../electron/core/lab/shell-quote.ts';
import { guestRow } from '../../fakes/rows.ts';

const hostile = `a b'c"d$(id)\`id\`;\\\n*`;

function input(text: string, more: Partial<RecipeInput> = {}): RecipeInput {
  const { definition, problems } = readLabFile(new TextEncoder().encode(text));
  if (!definition) throw new Error(JSON.stringify(problems));
  return {
    lab: resolveLab(definition),
    scope: 'host',
    uid: 1000,
    uplink: 'eth0',
    uplink6: null,
    argv: new Map(),
    plans: new Map(),
    taps: new Map(),
    ...more,
  };
}

const two = `name: seed
networks:
  br0: { subnet: 192.168.57.0/24 }
  br1: { subnet: 10.0.0.0/16, nat: false, dhcp: false, mtu: 9000 }
guests:
  guest: { image: micro, nics: [{ network: br0, address: 192.168.57.2 }, { network: br1 }] }
`;

describe('quoting', () => {
  it('gives the shell every word as it is', () => {
    const words = ['printf', '%s\\0', hostile, '', '-x', '--a=b c', "''", '~', '$HOME', '#'];
    for (const line of [words.map(shellWord).join(' '), shellLines(words)]) {
      const { stdout } = spawnSync('sh', ['-c', line], { encoding: 'utf8' });
      expect(stdout.split('\0').slice(0, -1)).toEqual(words.slice(2));
    }
  });

  it('keeps a comment a comment', () => {
    expect(shellComment('a\nrm -rf /\r\nb')).toBe('# a\n# rm -rf /\n#\n# b');
  });
});

describe('the recipe', () => {
  it('has each step once, in the order in which it is done', () => {
    expect(recipeOf(input(two)).map((step) => step.id)).toEqual([
      ...['bridge', 'bridge_address', 'bridge_up', 'forwarding', 'filter', 'dns'].map(
        (id) => `seed/br0/${id}`,
      ),
      ...['bridge', 'bridge_address', 'bridge_up', 'forwarding', 'filter'].map((id) => `seed/br1/${id}`),
      ...['0/tap', '0/tap_port', '1/tap', '1/tap_port', 'qemu'].map((id) => `seed/guest/${id}`),
      ...['address', 'route', 'resolver'].map((id) => `seed/guest/0/${id}`),
    ]);
    expect(
      recipeOf(input(two, { scope: 'private' }))
        .slice(0, 2)
        .map((step) => [step.id, step.by]),
    ).toEqual([
      ['seed/namespace', null],
      ['seed/uplink', 'by pasta'],
    ]);
  });

  it('holds nothing while nothing is known', () => {
    const held = { picture: null, guests: new Map() };
    for (const step of recipeOf(input(two, { scope: 'private' }))) {
      expect([step.id, step.holds(held)]).toEqual([
        step.id,
        /\/(route|resolver)$/.test(step.id) ? null : false,
      ]);
    }
  });

  it('holds an address in a guest while there is a lease and the guest runs', () => {
    const { lab } = input(two);
    const mac = lab.guests[0]?.nics[0]?.mac ?? '';
    const network = {
      lab: 'seed',
      name: 'br0',
      bridge: 2,
      subnet: '192.168.57.0/24',
      address: '192.168.57.1',
      mac: '52:54:00:00:00:01',
      mtu: 1500,
      mode: 'nat' as const,
      nat: true,
      filter: true,
      antispoof: true,
      forwarding: true,
      doors: [],
      exposed: [],
      dns: null,
      leases: [{ mac, address: '192.168.57.2', hostname: 'guest', expires: 0 }],
    };
    const uplink = {
      provider: 'none' as const,
      device: null,
      host_device: null,
      addresses: [],
      gateway: null,
      forwarding: false,
      pid: null,
      reason: null,
    };
    const picture = { links: new Map(), networks: new Map([['seed/br0', network]]), uplink };
    const address = recipeOf(input(two)).find((step) => step.id === 'seed/guest/0/address');
    const running = guestRow('seed', 'guest', []);
    expect(address?.holds({ picture, guests: new Map([['guest', running]]) })).toBe(true);
    const crashed = { ...running, state: 'crashed' as const };
    expect(address?.holds({ picture, guests: new Map([['guest', crashed]]) })).toBe(false);
  });

  it('is a script that the shell accepts, whatever the image is called', () => {
    const text = `name: seed\nnetworks: { br0: { subnet: 10.0.0.0/24 } }\nguests: { g: { image: ${JSON.stringify(hostile)}, nics: [{ network: br0 }] } }\n`;
    const disk = { path: `/${hostile}/disk`, source: { path: `/${hostile}`, format: 'raw' } } as const;
    const needs = { runtime: `/run/${hostile}`, key: undefined, disk };
    const plans = new Map([['g', { argv: ['/bin/qemu', '-blockdev', hostile], needs }]]);
    for (const scope of ['host', 'private'] as const) {
      const script = recipeScript(input(text, { scope, plans }));
      expect(spawnSync('sh', ['-n'], { input: script, encoding: 'utf8' })).toMatchObject({
        status: 0,
        stderr: '',
      });
      expect(script).toContain(`\n/bin/qemu \\\n  -blockdev ${shellWord(hostile)} &\n`);
    }
  });

  it('makes an interface a port of a bridge that this computer is shut off from', () => {
    const lab = `name: seed
networks: { any: { mode: bridged, uplink: br-x }, lan: { mode: bridged, interface: eth1 } }
guests: { g: { image: micro, nics: [{ network: lan, mac: "52:54:00:00:00:02" }] } }
`;
    const command = new Map(recipeOf(input(lab)).map((step) => [step.id, step.command]));
    expect([...command.keys()].slice(0, 7)).toEqual([
      ...['bridge', 'bridge_up', 'forwarding', 'filter', 'bridge_port'].map((id) => `seed/lan/${id}`),
      'seed/any/bridge',
      'seed/any/filter',
    ]);
    expect(command.get('seed/lan/bridge')).toMatch(
      /^ip link add lan address 52:54:00:\S+ type bridge .* mcast_snooping 0\nip link set lan alias tapyard:1000:seed:lan$/,
    );
    expect(command.get('seed/lan/filter')).toMatch(/^nft -f - <<'END'\ntable inet tapyard_1000 \{[^]*"lan"/);
    expect(command.get('seed/any/filter')).toBe('# br-x is in the table above');
    expect(command.get('seed/lan/bridge_port')?.split('\n')).toEqual([
      'ip link set eth1 alias tapyard:1000:seed:lan',
      '[ ! -e /proc/sys/net/ipv6/conf/eth1/disable_ipv6 ] || echo 1 > /proc/sys/net/ipv6/conf/eth1/disable_ipv6',
      'ip link set eth1 master lan up',
    ]);
    expect(command.get('seed/g/0/tap_port')).toMatch(/^ip link set tap0 master lan up\nbridge fdb add /);
    expect(recipeScript(input(lab))).toContain("  ip link set eth1 nomaster alias '' || true\n");
  });

  it('lets the uplink answer for guests with addresses of the LAN', () => {
    const lab = `name: seed
networks: { lan: { subnet: 192.168.1.192/28, mode: routed, proxyArp: true, dhcp: { from: 192.168.1.198, to: 192.168.1.200 } } }
guests: { g: { image: micro, nics: [{ network: lan, address: 192.168.1.194 }] } }
`;
    const host = input(lab, { scope: 'host', uplink: 'wlan0' });
    const step = recipeOf(host).find(({ id }) => id === 'seed/lan/proxy_arp');
    expect(step?.title).toBe('wlan0 answers ARP for the guests of lan');
    expect(step?.command.split('\n')).toEqual([
      'ip neigh add proxy 192.168.1.194 dev wlan0 protocol 116',
      'for n in $(seq 198 200); do ip neigh add proxy 192.168.1.$n dev wlan0 protocol 116; done',
    ]);
    expect(recipeScript(host)).toContain('  ip neigh del proxy 192.168.1.194 dev wlan0 || true\n');
    const open = lab.replace('dhcp: { from: 192.168.1.198, to: 192.168.1.200 }', 'dhcp: false');
    const all = input(open.replace(', address: 192.168.1.194', ''), { scope: 'host', uplink: 'wlan0' });
    expect(recipeOf(all).find(({ id }) => id === 'seed/lan/proxy_arp')?.command).toMatch(
      /^for n in ..seq 194 206.;/,
    );
  });

  it('guards the taps of a bridged network, whose bridge is another’s', () => {
    const lab = `name: seed
networks: { lan: { mode: bridged, uplink: br-lan }, free: { mode: bridged, uplink: br-x, antispoof: false } }
guests: { g: { image: micro, nics: [{ network: lan, mac: "52:54:00:00:00:02" }, { network: free }] } }
`;
    const command = new Map(recipeOf(input(lab)).map((step) => [step.id, step.command]));
    expect([...command.keys()].slice(0, 3)).toEqual(
      ['lan/bridge', 'lan/filter', 'free/bridge'].map((id) => `seed/${id}`),
    );
    expect(command.get('seed/lan/filter')).toMatch(
      /^nft -f - <<'END'\ntable bridge tapyard_1000 \{[^]*chain target_br-lan \{[^]*\nEND$/,
    );
    expect(command.get('seed/lan/filter')).toContain('elements = { 1616023334 : jump source_br-lan }');
    expect(command.get('seed/g/0/tap')?.split('\n')[1]).toContain(' group 1616023334 ');
    expect(command.get('seed/g/0/tap')?.split('\n')[3]).toMatch(/> .*\/tap0\/disable_ipv6$/);
    expect(command.get('seed/g/0/tap')?.split('\n').slice(4)).toEqual(
      [
        `macs '{ "tap0" . 52:54:00:00:00:02 }'`,
        `chaddrs '{ "tap0" . 0x525400000002 }'`,
        `bridged '{ "tap0" }'`,
        `guarded '{ "tap0" }'`,
      ].map((element) => `nft add element bridge tapyard_1000 ${element}`),
    );
    expect(command.get('seed/g/0/tap_port')?.split('\n')).toEqual([
      'ip link set tap0 master br-lan up',
      'bridge fdb add 52:54:00:00:00:02 dev tap0 master static sticky',
      'bridge link set dev tap0 learning off guard on',
    ]);
    expect(command.get('seed/g/1/tap')).not.toContain('nft');
    expect(command.get('seed/g/1/tap_port')).toBe('ip link set tap1 master br-x up');
  });

  it('names the tap where QEMU was given its file descriptor', () => {
    const argv = new Map([['guest', ['/usr/bin/qemu-system-x86_64', '-netdev', 'tap,id=net0,fd=10']]]);
    const qemu = recipeOf(input(two, { argv })).find((step) => step.id === 'seed/guest/qemu');
    expect(qemu?.command).toBe(
      '/usr/bin/qemu-system-x86_64 \\\n  -netdev tap,id=net0,ifname=tap0,script=no,downscript=no',
    );
  });

  it('makes what a guest needs where it is not there, and says why one would not start', () => {
    const argv = ['/bin/qemu', '-netdev', 'tap,id=net0,fd=10'];
    const needs = { runtime: '/run/g', key: undefined, disk: undefined };
    const of = (plan: Plan | TapyardError | undefined, more: Partial<RecipeInput> = {}): string[] => {
      const plans = new Map(plan ? [['guest', plan]] : []);
      const steps = recipeOf(input(two, { plans, ...more }));
      return (steps.find((step) => step.id === 'seed/guest/qemu')?.command ?? '').split('\n');
    };
    const line = ['/bin/qemu \\', '  -netdev tap,id=net0,ifname=tap0,script=no,downscript=no'];
    expect(of({ argv, needs })).toEqual(['(umask 077; mkdir -p /run/g)', ...line]);
    const key = { privateKey: '/d/.ssh/k', comment: 'tapyard-seed' };
    expect(of({ argv, needs: { ...needs, key } })).toEqual([
      '(umask 077; mkdir -p /run/g)',
      "[ -e /d/.ssh/k.pub ] || (umask 077; mkdir -p /d/.ssh && ssh-keygen -q -t ed25519 -N '' -C tapyard-seed -f /d/.ssh/k)",
      ...line,
    ]);
    const source = { path: '/i.img', format: 'raw' } as const;
    const disk = { path: '/d/g/disk.qcow2', source };
    expect(of({ argv, needs: { ...needs, disk } })[1]).toBe(
      '[ -e /d/g/disk.qcow2 ] || (umask 077; mkdir -p /d/g && qemu-img create -q -f qcow2 -b /i.img -F raw /d/g/disk.qcow2)',
    );
    // What runs is told as it runs.
    expect(of({ argv: ['/bin/other'], needs }, { argv: new Map([['guest', argv]]) }).slice(1)).toEqual(line);
    expect(of(new TapyardError('IMAGE_MISSING', 'There is no image /x.'))).toEqual([
      '# guest would not start: There is no image /x.',
    ]);
    expect(of(undefined)[0]).toMatch(/^# What guest is started with .* tapyard check$/);
  });

  it('tells how a NIC came to a QEMU that ran, by its number there', () => {
    const { lab } = input(two);
    const [first, second] = lab.guests[0]?.nics ?? [];
    if (!first || !second) throw new Error('two NICs are wanted');
    // The second NIC of the file is QEMU's first; the other one came later.
    const argv = new Map([
      [
        'guest',
        [
          '/usr/bin/qemu-system-x86_64',
          '-chardev',
          'socket,id=plug,path=/run/a,,b/nic.sock,server=on,wait=off',
          '-netdev',
          'tap,id=net0,fd=10',
          '-device',
          `virtio-net-pci,id=nic0,mac=${second.mac},romfile=`,
        ],
      ],
    ]);
    const held = { ifindex: 7, fd: null, steps: [] };
    const taps = new Map([
      [
        'guest',
        [
          { ...held, ...second, nic: 0 },
          { ...held, ...first, nic: 1 },
        ],
      ],
    ]);
    const steps = recipeOf(input(two, { argv, taps }));
    const command = (id: string): string =>
      steps.find((step) => step.id === `seed/guest/${id}`)?.command ?? '';
    expect(command('qemu')).toContain(`tap,id=net0,ifname=${second.tap},`);
    expect(command('0/tap')).toContain('tapyard:1000:seed:br0:guest/1');
    expect(command('1/plug')).toBe('');
    const [connect, ...lines] = command('0/plug').split('\n');
    expect(connect).toBe("socat -t1 - UNIX-CONNECT:/run/a,b/nic.sock <<'END'");
    expect(lines.slice(1, -1).map((line): unknown => JSON.parse(line))).toEqual([
      {
        execute: 'netdev_add',
        arguments: { type: 'tap', id: 'net1', ifname: first.tap, script: 'no', downscript: 'no' },
      },
      {
        execute: 'device_add',
        arguments: {
          driver: 'virtio-net-pci',
          id: 'nic1',
          bus: 'port1',
          netdev: 'net1',
          mac: first.mac,
          romfile: '',
        },
      },
    ]);
  });
});
