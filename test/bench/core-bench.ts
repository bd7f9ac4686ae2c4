// SPDX-License-Identifier: Apache-2.0
/* What the core and netd cost while three guests run and nobody looks. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { World } from '../world/world.ts';
import { type Figure, report, rounded } from './figures.ts';
import { labWorld } from './lab-world.ts';

const watched = 20_000;
/** For the guests to finish booting and the page's connection to be forgotten. */
const settled = 10_000;
/** % of a core. */
const cpuLimit = 0.5;

const lab = `name: three
networks:
  br0: { subnet: 192.168.57.0/24, nat: true }
guests:
${['one', 'two', 'three'].map((name) => `  ${name}: { image: micro, memory: 128M, cpus: 1, nics: [{ network: br0 }] }`).join('\n')}
`;

/** CPU time of all threads, ms: /proc/PID/task/TID/schedstat begins with ns on a CPU (Documentation/scheduler/sched-stats). */
function cpuMs(pids: readonly number[]): number {
  let ns = 0;
  for (const pid of pids)
    for (const task of readdirSync(`/proc/${pid}/task`))
      ns += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ', 1)[0]);
  return ns / 1e6;
}

/** VmRSS in MB (10⁶ bytes): what of a process is in memory now, pages shared with others included. */
function rssMb(pids: readonly number[]): number {
  const kib = pids.map((pid) => /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  return kib.reduce((sum, value) => sum + Number(value) * 1024, 0) / 1e6;
}

const pidsOf = (world: World, pattern: RegExp): number[] => {
  const pids = world.processes().flatMap(({ pid, command }) => (pattern.test(command) ? [pid] : []));
  if (pids.length === 0) throw new Error(`no process is ${pattern}`);
  return pids;
};

async function quietCore(): Promise<Figure[]> {
  const { world, browser, close } = await labWorld(lab);
  try {
    await browser.close();
    await delay(settled);
    const programs = {
      core: pidsOf(world, /tapyard\.mjs serve/),
      netd: pidsOf(world, /tapyard-netd --scope/),
    };
    const guests = pidsOf(world, /^\S*qemu-system-x86_64/);
    if (guests.length !== 3) throw new Error(`${guests.length} guests run, not three`);
    const before = { core: cpuMs(programs.core), netd: cpuMs(programs.netd) };
    const began = performance.now();
    await delay(watched);
    const elapsed = performance.now() - began;
    const share = (name: 'core' | 'netd'): number => ((cpuMs(programs[name]) - before[name]) / elapsed) * 100;
    const [core, netd] = [share('core'), share('netd')];
    const figure = (what: string, unit: Figure['unit'], value: number): Figure => {
      return { what, unit, figure: rounded(value), aim: null, met: null };
    };
    return [
      {
        ...figure('core, 3 guests, no viewer, CPU over 20 s', '% of a core', core),
        aim: `< ${cpuLimit} %`,
        met: core < cpuLimit,
        note: 'the process of tapyard serve, with its web server, after a browser has been and gone',
      },
      figure('core, RSS', 'MB', rssMb(programs.core)),
      figure('netd, both halves, CPU over 20 s', '% of a core', netd),
      figure('netd, both halves, RSS', 'MB', rssMb(programs.netd)),
    ];
  } finally {
    await close();
  }
}

await report([['core with three guests and no viewer', quietCore]]);
