// SPDX-License-Identifier: Apache-2.0
/*
 * What a tap and a toggle of NAT take while one namespace fills with networks and taps, beside ip and nft run by
 * sh; what a network costs in memory; and networks up and down beside libvirt's.
 */
import { spawnSync } from 'node:child_process';
import { findProgram } from '../../electron/core/host/programs.ts';
import { checkoutInside, World } from '../world/world.ts';
import { compared, type Figure, median, percentile, report, rounded } from './figures.ts';
import type { Grown } from './scale-grown.ts';
import type { Rival } from './virsh-rival.ts';

const growthLimit = 2;
const deadline = 8 * 60_000;

const world = World.create();

async function inside<Answer>(program: string): Promise<Answer> {
  const answer = await world.must([process.execPath, `${checkoutInside}/dist/bench/${program}.mjs`], {
    as: 'root',
    timeout: deadline,
  });
  return JSON.parse(answer);
}

async function scale(): Promise<Figure[]> {
  const { points, memory, apply, removed } = await inside<Grown>('scale-inside');
  const last = points.at(-1);
  const operation = (
    name: string,
    ours: 'openTap' | 'setNat',
    shell: 'tapByShell' | 'natByShell',
    words: string,
  ): Figure[] => {
    const figures = points.map((point) => ({
      ...compared(`${name}, ${point.taps} taps in ${point.networks} networks`, point[ours], {
        what: words,
        samples: point[shell],
      }),
      note: `p99 ${rounded(percentile(point[ours], 0.99))}; of sh ${rounded(percentile(point[shell], 0.99))}`,
    }));
    const [first, end] = [points[0], last].map((point) => median(point?.[ours] ?? []));
    const growth = (end ?? Number.NaN) / (first ?? Number.NaN);
    const grown: Figure = {
      what: `${name}, growth from 1 to ${last?.taps} taps`,
      unit: '×',
      figure: rounded(growth),
      aim: `at most ${growthLimit}×`,
      met: growth <= growthLimit,
    };
    return [...figures, grown];
  };
  const tenth = Math.ceil(apply.length / 10);
  const plain = (what: string, unit: Figure['unit'], figure: number, note?: string): Figure => ({
    what,
    unit,
    figure: rounded(figure),
    aim: null,
    met: null,
    ...(note === undefined ? {} : { note }),
  });
  return [
    ...operation('open_tap', 'openTap', 'tapByShell', 'ip tuntap, ip link by sh'),
    ...operation('set_nat', 'setNat', 'natByShell', 'nft by sh'),
    plain(
      'memory of a network',
      'kB',
      memory.netdKb + memory.dnsmasqKb,
      `netd ${rounded(memory.netdKb)}, dnsmasq ${rounded(memory.dnsmasqKb)} (Pss)`,
    ),
    plain(
      `network up, the last ${tenth} of ${apply.length}`,
      'ms',
      median(apply.slice(-tenth)),
      `the first ${tenth}: ${rounded(median(apply.slice(0, tenth)))}`,
    ),
    plain(
      `network down, the first ${tenth} of ${removed.length}`,
      'ms',
      median(removed.slice(0, tenth)),
      `the last ${tenth}: ${rounded(median(removed.slice(-tenth)))}`,
    ),
  ];
}

/** What libvirt needs of the machine; it is no part of the set-up, since a bench is no reason to install one. */
const missing = ['libvirtd', 'virtlogd', 'virsh'].filter((program) => findProgram(program) === undefined);

async function besideLibvirt(): Promise<Figure[]> {
  if (missing.length > 0) {
    const note = `not measured: there is no ${missing.join(', ')} (Debian: apt install --no-install-recommends libvirt-daemon libvirt-clients iptables)`;
    return [
      { what: 'network up and down beside libvirt', unit: 'ms', figure: null, aim: null, met: null, note },
    ];
  }
  const { ours, theirs, virsh } = await inside<Rival>('virsh-inside');
  const started = `virsh's own start of ${rounded(median(virsh))} ms is in its figures`;
  return [
    compared('network up, netd runs', ours.up, { what: 'virsh net-start', samples: theirs.up }, 0.2, started),
    compared('network down, netd runs', ours.down, { what: 'virsh net-destroy', samples: theirs.down }, 0.2),
  ];
}

/** Daemons of the bench that are not in its world would be a defect worth every alarm. */
function noneAround(): void {
  const found = spawnSync('pgrep', ['-x', 'libvirtd|virtlogd'], { encoding: 'utf8' }).stdout.trim();
  if (found !== '') throw new Error(`libvirt runs on this machine (${found}): the bench does not disturb it`);
}

try {
  await report([
    ['networks and taps', scale],
    [
      'beside libvirt',
      async () => {
        noneAround();
        return besideLibvirt();
      },
    ],
  ]);
} finally {
  world.close();
}
