// SPDX-License-Identifier: Apache-2.0
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, fstatSync, ftruncateSync, openSync, readSync } from 'node:fs';
import { constants } from 'node:os';
import { Duplex } from 'node:stream';
import { ErrorData, TapyardError } from '../../contract/error.ts';
import { shapeNumbers, type ShapeDefinition } from '../../contract/shape.ts';
import { z } from '../../contract/zod.ts';
import { openForQemu } from '../console/serial-input.ts';
import type { SerialRecord } from '../console/serial-record.ts';
import { programEnvironment } from '../host/process.ts';
import { ownProgram } from '../host/programs.ts';
import type { Ending } from './lifecycle.ts';
import type { GuestSpec, HeldTap, NicSpec, PluggedNic } from './spec.ts';

/** The first file descriptor that a tap gets; lower ones are standard streams and the report. */
const firstTapFd = 10;
/** Where tapyard-tap says how it went. */
const reportFd = 3;
/** Opening taps takes milliseconds; a netd that answers nothing must not hang a start. */
const reportDeadlineMs = 10_000;
/** QEMU's own words, kept for the error message and for curious people. */
const longestLog = 1024 * 1024;

const Report = z.union([
  z.object({
    taps: z.array(
      z.object({
        nic: z.number().int(),
        tap: z.string(),
        ifindex: z.number().int(),
        fd: z.number().int(),
        steps: z.array(z.object({ id: z.string(), ms: z.number(), changed: z.boolean() })).default([]),
      }),
    ),
  }),
  z.object({ error: z.object(ErrorData.shape) }),
]);

/** The NICs with their file descriptors. `vhost` lets the kernel move the packets, where it and the accelerator can. */
export function plug(nics: readonly NicSpec[], vhost: boolean): PluggedNic[] {
  return nics.map((nic, position) => ({
    ...nic,
    fd: firstTapFd + position,
    vhostFd: vhost ? firstTapFd + nics.length + position : undefined,
  }));
}

/** RATE:DELAY:JITTER:LOSS, as tapyard-tap reads it. */
export function shapeWord(shape: ShapeDefinition): string {
  const { rate, delay, jitter, loss } = shapeNumbers(shape);
  return [rate, delay, jitter, loss].join(':');
}

/** The command line of tapyard-tap that becomes QEMU: `exec`, the taps as FD:NIC:NETWORK:MAC:TAP, and QEMU's own line. */
export function tapArgv(spec: GuestSpec, nics: readonly PluggedNic[], qemu: readonly string[]): string[] {
  return [
    'exec',
    '--netd',
    spec.netdSocket,
    '--lab',
    spec.lab,
    '--guest',
    spec.name,
    ...nics.flatMap(({ fd, index, network, mac, tap }) => [
      '--tap',
      `${fd}:${index}:${network}:${mac}:${tap}`,
    ]),
    ...nics.flatMap(({ index, shape }) => (shape ? ['--shape', `${index}:${shapeWord(shape)}`] : [])),
    ...nics.flatMap(({ vhostFd }) => (vhostFd === undefined ? [] : ['--vhost', String(vhostFd)])),
    '--report',
    String(reportFd),
    '--',
    ...qemu,
  ];
}

/** A QEMU that is being started. */
export interface Launched {
  readonly pid: number;
  /** The taps, once they are open and the process is becoming QEMU. Rejects with netd's error, QEMU_FAILED, DEADLINE. */
  readonly taps: Promise<readonly HeldTap[]>;
  /** Lets it become QEMU: once that and its taps are noted, so that none runs that no core knows of. */
  begin(): void;
  /** Once, when the process is over. */
  readonly ended: Promise<Ending>;
  /** Kills it at once: for a start that is given up. */
  kill(): void;
  /** What it wrote to its log, at most the last 2000 characters. */
  lastWords(): string;
}

/** What QEMU has as its standard streams. */
export interface Streams {
  /** The path of the FIFO that the serial port is typed into. */
  readonly input: string;
  /** Takes what the serial port says. */
  readonly record: SerialRecord;
  /** The path of the file for QEMU's own words. */
  readonly log: string;
}

/**
 * Starts QEMU through tapyard-tap in a session of its own, so that it outlives this process. Throws NETD_MISSING,
 * QEMU_FAILED, DISK_FULL.
 */
export function launch(
  spec: GuestSpec,
  nics: readonly PluggedNic[],
  qemu: readonly string[],
  streams: Streams,
): Launched {
  const tap = ownProgram('tapyard-tap');
  const logFile = streams.log;
  const log = openSync(logFile, 'a+', 0o600);
  if (fstatSync(log).size > longestLog) ftruncateSync(log);
  const logStart = fstatSync(log).size;
  const open = [log];
  let child: ChildProcess;
  try {
    const input = openForQemu(streams.input);
    open.push(input);
    const record = streams.record.openForQemu();
    open.push(record);
    child = spawn(tap, tapArgv(spec, nics, qemu), {
      detached: true,
      stdio: [input, record, log, 'pipe'],
      env: programEnvironment,
      // A directory that is busy for as long as the guest runs could not be unmounted.
      cwd: '/',
    });
  } finally {
    open.forEach((fd) => {
      closeSync(fd);
    });
  }
  const lastWords = (): string => readFrom(logFile, logStart);
  const ended = new Promise<Ending>((resolve) => {
    child.once('exit', (code, signal) => {
      resolve(
        signal === null
          ? { kind: 'exit', code: code ?? 0 }
          : { kind: 'signal', signal, number: constants.signals[signal] },
      );
    });
    child.once('error', () => {
      resolve({ kind: 'unknown' });
    });
  });
  child.unref();
  const { pid } = child;
  if (pid === undefined) {
    throw new TapyardError('QEMU_FAILED', `${tap} could not be started.`, {
      hint: 'Is this user out of processes (ulimit -u) or memory?',
      subject: tap,
    });
  }
  return {
    pid,
    taps: readReport(child, ended, lastWords).then((taps) => held(nics, taps)),
    begin: () => {
      reportOf(child).end('\n');
    },
    ended,
    kill: () => {
      child.kill('SIGKILL');
    },
    lastWords,
  };
}

/** QEMU's last words as an error about `guest`; `log` is the path of all its words. */
export function qemuFailed(guest: string, ending: Ending, said: string, log: string): TapyardError {
  const how =
    ending.kind === 'exit'
      ? `ended with exit code ${ending.code}`
      : ending.kind === 'signal'
        ? `was killed by signal ${ending.number}`
        : 'is gone';
  return new TapyardError(
    'QEMU_FAILED',
    `QEMU ${how} while starting ${guest}${said === '' ? '.' : `: ${said}`}`,
    {
      hint: /Failed to get .* lock/.test(said)
        ? 'Another QEMU has this disk open: end that one first.'
        : `All that QEMU said is in ${log}`,
      subject: guest,
    },
  );
}

/** The taps with what is known of their NICs. */
function held(
  nics: readonly NicSpec[],
  taps: readonly Omit<HeldTap, 'network' | 'mac'>[],
): readonly HeldTap[] {
  return taps.map((tap) => {
    const { network = '', mac = '' } = nics.find(({ index }) => index === tap.nic) ?? {};
    return { ...tap, network, mac };
  });
}

/** The socket of the report, which Node calls a pipe. */
function reportOf(child: ChildProcess): Duplex {
  const pipe = child.stdio[reportFd];
  if (!(pipe instanceof Duplex)) throw new TapyardError('INTERNAL', 'tapyard-tap has no report pipe');
  return pipe;
}

/** The first line of the report: the taps, or an error of netd's. */
async function readReport(
  child: ChildProcess,
  ended: Promise<Ending>,
  lastWords: () => string,
): Promise<readonly Omit<HeldTap, 'network' | 'mac'>[]> {
  const pipe = reportOf(child);
  const line = await new Promise<string>((resolve, reject) => {
    let text = '';
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(
        new TapyardError('DEADLINE', `netd did not open the taps within ${reportDeadlineMs} ms.`, {
          hint: 'Try again; if it stays so, bring the lab down and up.',
        }),
      );
    }, reportDeadlineMs);
    const finish = (): void => {
      clearTimeout(timer);
      resolve(text.split('\n', 1)[0] ?? '');
    };
    pipe.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
      if (text.includes('\n')) finish();
    });
    pipe.once('end', finish);
    pipe.on('error', finish);
  });
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    // No report: it ended before (and its log says why), or it is a stranger's program.
    child.kill('SIGKILL');
    const ending = await ended;
    throw new TapyardError(
      'QEMU_FAILED',
      `tapyard-tap did not report: ${lastWords() || JSON.stringify(ending)}`,
      {
        hint: 'In a checkout run: npm run setup. In an installation, install the package again.',
      },
    );
  }
  const report = Report.safeParse(parsed);
  if (!report.success) {
    child.kill('SIGKILL');
    throw new TapyardError('INTERNAL', `tapyard-tap reported something unknown: ${line.slice(0, 500)}`);
  }
  if ('taps' in report.data) return report.data.taps;
  child.kill('SIGKILL');
  throw TapyardError.fromData(report.data.error);
}

/** What a file holds from `start` on, its last 2000 bytes as trimmed text. */
function readFrom(path: string, start: number): string {
  try {
    const file = openSync(path, 'r');
    try {
      const { size } = fstatSync(file);
      const from = Math.max(start, size - 2000);
      const buffer = Buffer.alloc(Math.max(0, size - from));
      const read = readSync(file, buffer, 0, buffer.length, from);
      return buffer.toString('utf8', 0, read).trim();
    } finally {
      closeSync(file);
    }
  } catch {
    return '';
  }
}
