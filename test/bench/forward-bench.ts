// SPDX-License-Identifier: Apache-2.0
/*
 * How fast a forward is: TCP from this computer's loopback through tapyard-tap to a service behind a veth on a lab's
 * bridge, beside the veth itself and beside a port that pasta forwards. The service is a namespace, since a guest
 * under emulation would be all that is measured.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkoutInside, until, World } from '../world/world.ts';
import { byTurns, type Figure, median, report, rounded } from './figures.ts';

const rounds = 5;
/** Of one transfer, s. */
const seconds = 2;
const bridge = '192.168.57.1';
const service = '192.168.57.2';
const port = 5201;
const forwarded = 8080;
const pastaPort = 5301;

/** One transfer: bits a second, and the seconds of CPU that who carries it has used for a GB. */
interface Transfer {
  readonly rate: number;
  readonly cpuPerGb: number;
}

const world = World.create();
const guestNetns = `${world.hostNetns}g`;

function must(program: string, ...args: string[]): void {
  const done = spawnSync(program, args, { encoding: 'utf8', timeout: 20_000 });
  if (done.status !== 0) throw new Error(`${program} ${args.join(' ')}: ${done.stderr.trim()}`);
}

/** The keeper of the lab's network namespace, as the machine sees it. */
function keeper(): number {
  const path = join(world.runtimeDir('user'), 'tapyard/labs/seed/netd/anchor.json');
  const record: { keeper: { pid: number } } = JSON.parse(readFileSync(path, 'utf8'));
  return record.keeper.pid;
}

/** CPU time that a process has used, s (proc(5): ticks of 10 ms). */
function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** The process in a world whose command line has `word`. */
const processWith = (word: string): Promise<number> =>
  until(
    `a process with ${word}`,
    10_000,
    () => world.processes().find(({ command }) => command.includes(word))?.pid,
  );

interface Way {
  readonly address: string;
  readonly port: number;
  /** Where the client is: in host1 as the user, or in the lab's own namespace. */
  readonly inside?: number;
  /** Who carries the bytes besides the kernel. */
  readonly carrier?: number;
}

async function transfer(way: Way, reverse: boolean): Promise<Transfer> {
  const client = ['iperf3', '-c', way.address, '-p', String(way.port), '-t', String(seconds), '-J'];
  const command = [
    ...(way.inside === undefined ? [] : ['nsenter', '-t', String(way.inside), '-n']),
    ...client,
  ];
  const before = way.carrier === undefined ? 0 : cpuOf(way.carrier);
  const text = await world.must([...command, ...(reverse ? ['-R'] : [])], {
    as: way.inside === undefined ? 'user' : 'root',
  });
  const used = way.carrier === undefined ? 0 : cpuOf(way.carrier) - before;
  const result: { end: { sum_received: { bytes: number; bits_per_second: number } } } = JSON.parse(text);
  const { bytes, bits_per_second: rate } = result.end.sum_received;
  return { rate, cpuPerGb: used / (bytes / 1e9) };
}

const gbit = (transfers: readonly Transfer[]): number =>
  rounded(median(transfers.map(({ rate }) => rate)) / 1e9);
const cpu = (transfers: readonly Transfer[]): number =>
  rounded(median(transfers.map(({ cpuPerGb }) => cpuPerGb)));

async function measure(): Promise<Figure[]> {
  const lab = keeper();
  const tap = join(checkoutInside, 'native/target/release/tapyard-tap');
  const netd = join(world.runtimeDir('user'), 'tapyard/labs/seed/netd/netd.sock');
  const to = ['--listen', `127.0.0.1:${forwarded}`, '--to', `${service}:${port}`];
  world.start([tap, 'forward', '--netd', netd, '--lab', 'seed', ...to]);
  world.start([
    'pasta',
    '--foreground',
    '--quiet',
    '--config-net',
    '-t',
    String(pastaPort),
    '--',
    'iperf3',
    '-s',
    '-p',
    String(pastaPort),
  ]);
  const direct: Way = { address: service, port, inside: lab };
  const forward: Way = {
    address: '127.0.0.1',
    port: forwarded,
    carrier: await processWith('tapyard-tap forward'),
  };
  const pasta: Way = {
    address: '127.0.0.1',
    port: pastaPort,
    // With its port: the lab's own pasta begins with the same words.
    carrier: await processWith(`pasta --foreground --quiet --config-net -t ${pastaPort}`),
  };
  await until('all answer', 20_000, async () => {
    const done = await Promise.allSettled([direct, forward, pasta].map((way) => probe(way)));
    return done.every((each) => each.status === 'fulfilled');
  });
  const figures: Figure[] = [];
  for (const [reverse, least] of [
    [false, 0.5],
    [true, 0.35],
  ] as const) {
    const samples = await byTurns(
      rounds,
      [direct, forward, pasta].map((way) => () => transfer(way, reverse)),
    );
    const [veth, ours, theirs] = [samples(0), samples(1), samples(2)];
    const ratio = median(ours.map(({ rate }) => rate)) / median(veth.map(({ rate }) => rate));
    figures.push({
      what: `forward, ${reverse ? 'from the guest' : 'to the guest'}`,
      unit: 'Gbit/s',
      figure: gbit(ours),
      beside: { what: 'the veth itself', figure: gbit(veth) },
      ratio: rounded(ratio),
      aim: `≥ ${least}×`,
      met: ratio >= least,
      note: `CPU for a GB: ${cpu(ours)} s; pasta's own forward: ${gbit(theirs)} Gbit/s, ${cpu(theirs)} s for a GB`,
    });
  }
  return figures;
}

/** Fails until iperf3 answers there. */
async function probe(way: Way): Promise<void> {
  const client = ['iperf3', '-c', way.address, '-p', String(way.port), '-n', '1K', '-J'];
  const command = [
    ...(way.inside === undefined ? [] : ['nsenter', '-t', String(way.inside), '-n']),
    ...client,
  ];
  await world.must(command, { as: way.inside === undefined ? 'user' : 'root', timeout: 5000 });
}

try {
  const file = `name: seed\nnetworks:\n  br0: { subnet: ${service.replace(/2$/, '0')}/24, address: ${bridge} }\n`;
  await world.must(world.tapyardCommand(['up', world.file('tapyard.yaml', file)]), { timeout: 60_000 });
  const lab = ['-t', String(keeper()), '-n'];
  must('ip', 'netns', 'add', guestNetns);
  const cable = ['type', 'veth', 'peer', 'name', 'eth0', 'netns', guestNetns];
  must('nsenter', ...lab, 'ip', 'link', 'add', 'g0', 'master', 'br0', ...cable);
  must('nsenter', ...lab, 'ip', 'link', 'set', 'g0', 'up');
  must('ip', '-n', guestNetns, 'addr', 'add', `${service}/24`, 'dev', 'eth0');
  must('ip', '-n', guestNetns, 'link', 'set', 'eth0', 'up');
  world.start(['ip', 'netns', 'exec', guestNetns, 'iperf3', '-s', '-p', String(port)], {
    as: 'root',
  });
  await report([['forward', measure]]);
} finally {
  for (const pid of spawnSync('ip', ['netns', 'pids', guestNetns], { encoding: 'utf8' }).stdout.split('\n'))
    if (pid !== '') process.kill(Number(pid), 'SIGKILL');
  world.close();
  spawnSync('ip', ['netns', 'del', guestNetns]);
}
