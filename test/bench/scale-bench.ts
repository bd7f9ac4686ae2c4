// SPDX-License-Identifier: Apache-2.0
/*
 * What a tap and a toggle of NAT take while one namespace fills with networks and taps, beside ip and nft run by
 * sh; what a network costs in memory; and networks up and down beside libvirt's.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { checkout, checkoutInside, World } from '../world/world.ts';
import { compared, type Figure, median, percentile, report, rounded } from './figures.ts';
import type { Grown } from './scale-grown.ts';
import type { Rival } from './virsh-rival.ts';

const growthLimit = 2;
/** Where set-up unpacked its packages (scripts/setup/libvirt.mjs). */
const libvirt = '.cache/libvirt/root';
const deadline = 8 * 60_000;

const world = World.create();

/** Runs a program of the bench in the world, by way of the command `by`. */
async function inside<Answer>(program: string, by: readonly string[] = []): Promise<Answer> {
  const answer = await world.must([...by, process.execPath, `${checkoutInside}/dist/bench/${program}.mjs`], {
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

async function besideLibvirt(): Promise<Figure[]> {
  if (!existsSync(path.join(checkout, libvirt))) {
    const note =
      'not measured: libvirt is not unpacked; npm run setup -- --for bench does it, on Debian, with apt’s lists there';
    return [
      { what: 'network up and down beside libvirt', unit: 'ms', figure: null, aim: null, met: null, note },
    ];
  }
  const laid = `${checkoutInside}/test/bench/libvirt.sh`;
  const { ours, theirs, virsh } = await inside<Rival>('virsh-inside', [laid, `${checkoutInside}/${libvirt}`]);
  const started = `virsh's own start of ${rounded(median(virsh))} ms is in its figures`;
  return [
    compared('network up, netd runs', ours.up, { what: 'virsh net-start', samples: theirs.up }, 0.2, started),
    compared('network down, netd runs', ours.down, { what: 'virsh net-destroy', samples: theirs.down }, 0.2),
  ];
}

try {
  await report([
    ['networks and taps', scale],
    ['beside libvirt', besideLibvirt],
  ]);
} finally {
  world.close();
}
