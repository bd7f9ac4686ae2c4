// SPDX-License-Identifier: Apache-2.0
/*
 * What guest-bench.ts measures, run inside its world as the ordinary user beside a core that runs: a guest's
 * start by the contract's call, by the whole command, by the same in Node, and the bare QEMU command line. Prints samples as JSON.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from '../../electron/contract/connect.ts';
import { coreSocketPath } from '../../electron/core/host/election.ts';
import { connectSocket } from '../../electron/core/host/socket-channel.ts';
import { Qmp } from '../../electron/core/guest/qmp.ts';
import { serialLogPath } from '../../electron/core/guest/prepare.ts';
import { guestDirs } from '../../electron/core/guest/spec.ts';
import { readStateFile } from '../../electron/core/guest/state-file.ts';
import { byTurns } from './figures.ts';
import { type GuestSamples, type StartSample, tapOfBareQemu } from './guest-samples.ts';

const lab = 'seed';
const guest = 'guest';
const rounds = 20;
/** A guest under TCG on a busy machine says something within seconds. */
const patience = 30_000;

const [front = '', cli = ''] = process.argv.slice(2);

/** Looks every 2 ms, which is far under what a start varies by. */
async function until<T>(what: string, look: () => T | undefined): Promise<T> {
  for (const end = performance.now() + patience; performance.now() < end; await delay(2)) {
    const seen = look();
    if (seen !== undefined) return seen;
  }
  throw new Error(`${what}: not within ${patience} ms`);
}

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

const connection = await connect(await connectSocket(coreSocketPath(), 5000), {
  role: 'cli',
  deadlineMs: 5000,
});
const { client } = connection;

const dirs = guestDirs(lab, guest);
const running = readStateFile(dirs.runtime);
if (running === undefined) throw new Error('the guest does not run');
const serialRecord = serialLogPath(dirs);

/** A guest's own line with other sockets, and a tap that is there already instead of netd's descriptor. */
const bareDir = join(process.env['HOME'] ?? '/tmp', 'bare');
mkdirSync(bareDir, { recursive: true });
const bareLog = join(bareDir, 'serial.log');
const bareLine = running.argv.map((word) =>
  word
    .replace(/^tap,id=net0,fd=\d+$/, `tap,id=net0,ifname=${tapOfBareQemu},script=no,downscript=no`)
    .replaceAll(dirs.runtime, bareDir),
);

async function forceOff(): Promise<void> {
  await client.guest.forceOff({ lab, guest });
}

/** Starts by `start` and waits for the serial port's first byte; the guest is off again afterwards. */
async function timeGuest(start: () => Promise<void>): Promise<StartSample> {
  const before = sizeOf(serialRecord);
  const began = performance.now();
  let monitor = Number.NaN;
  const started = start().then(() => (monitor = performance.now() - began));
  await until('the first serial byte', () => (sizeOf(serialRecord) > before ? true : undefined));
  const serial = performance.now() - began;
  await started;
  await forceOff();
  await delay(100);
  return { monitor, serial };
}

/** Until QEMU says its status: what a start by the core waits for as well. */
async function monitorAnswers(path: string): Promise<void> {
  for (const end = performance.now() + patience; ; await delay(3)) {
    try {
      const qmp = await Qmp.connect(path);
      await qmp.execute('query-status');
      qmp.close();
      return;
    } catch (error) {
      // It does not listen yet.
      if (performance.now() > end) throw error;
    }
  }
}

async function timeBare(): Promise<StartSample> {
  rmSync(bareLog, { force: true });
  const [program = '', ...args] = bareLine;
  const began = performance.now();
  const log = openSync(bareLog, 'a');
  const qemu: ChildProcess = spawn(program, args, { stdio: ['ignore', log, 'inherit'], detached: true });
  closeSync(log);
  let monitor = Number.NaN;
  const answered = monitorAnswers(join(bareDir, 'qmp.sock')).then(
    () => (monitor = performance.now() - began),
  );
  await until('the first serial byte', () => (sizeOf(bareLog) > 0 ? true : undefined));
  const serial = performance.now() - began;
  await answered;
  const ended = once(qemu, 'exit');
  qemu.kill('SIGKILL');
  await ended;
  await delay(100);
  return { monitor, serial };
}

async function command(program: string, args: readonly string[]): Promise<number> {
  const began = performance.now();
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = once(child, 'exit');
  const [code]: unknown[] = await ended;
  if (code !== 0) throw new Error(`${[program, ...args].join(' ')} ended with ${String(code)}`);
  return performance.now() - began;
}

await forceOff();
const starts = await byTurns(rounds, [
  timeBare,
  () => timeGuest(async () => void (await client.guest.start({ lab, guest }))),
  () => timeGuest(async () => void (await command(front, ['start', guest]))),
  () => timeGuest(async () => void (await command(process.execPath, [cli, 'start', guest]))),
]);
const commands = await byTurns(rounds, [
  () => command(front, ['ls']),
  () => command(process.execPath, [cli, 'ls']),
  () => command(process.execPath, ['-e', '0']),
]);
const samples: GuestSamples = {
  bare: starts(0),
  call: starts(1),
  command: starts(2),
  nodeCommand: starts(3),
  ls: commands(0),
  nodeLs: commands(1),
  node: commands(2),
};
process.stdout.write(`${JSON.stringify(samples)}\n`);
connection.close();
process.exit(0);
