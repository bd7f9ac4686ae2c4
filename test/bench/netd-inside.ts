// SPDX-License-Identifier: Apache-2.0
/* A netd of a bench's own, in the namespaces that the calling process is in, and taps of it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { ownProgram } from '../../electron/core/host/programs.ts';
import { NetdClient } from '../../electron/core/net/netd-client.ts';
import { NetdReady } from '../../electron/core/net/netd-protocol.ts';

export const lab = 'seed';

/** Runs a script by sh to its end, ms. Throws with its words when it fails. */
export async function timeShell(script: string): Promise<number> {
  const began = performance.now();
  const child = spawn('sh', ['-c', script], { stdio: ['ignore', 'ignore', 'pipe'] });
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (words += chunk));
  const ended = once(child, 'exit');
  const [code]: unknown[] = await ended;
  const ms = performance.now() - began;
  if (code !== 0) throw new Error(`sh ended with ${String(code)}: ${words.trim()}`);
  return ms;
}

export interface Netd {
  readonly pid: number;
  readonly dir: string;
  readonly client: NetdClient;
}

/** Without readline, which hears of what ends a stream after that line as well. */
async function firstLine(child: ChildProcess, stream: NodeJS.ReadableStream): Promise<string> {
  const deadline = setTimeout(() => child.kill('SIGKILL'), 20_000);
  // A socket is reset when its other end is killed.
  stream.on('error', () => undefined);
  let text = '';
  try {
    return await new Promise<string>((resolve) => {
      stream.on('end', () => resolve(text)).on('close', () => resolve(text));
      stream.on('data', (chunk: Buffer | string) => {
        text += String(chunk);
        const end = text.indexOf('\n');
        if (end !== -1) resolve(text.slice(0, end));
      });
    });
  } finally {
    clearTimeout(deadline);
  }
}

/** netd's directory is in $XDG_RUNTIME_DIR, which is in memory on a real machine; a world's is on a disk. */
const memory = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

export async function startNetd(scope: 'private' | 'host'): Promise<Netd> {
  const dir = mkdtempSync(join(memory, 'tyb-'));
  const args = ['--scope', scope, ...(scope === 'private' ? ['--lab', lab] : []), '--dir', dir];
  const child = spawn(ownProgram('tapyard-netd'), args, { stdio: ['ignore', 'pipe', 'ignore'], cwd: '/' });
  const ready = NetdReady.parse(JSON.parse(await firstLine(child, child.stdout)));
  if ('error' in ready) throw new Error(`netd did not start: ${JSON.stringify(ready.error)}`);
  return { pid: ready.pid, dir, client: await NetdClient.connect(ready.socket) };
}

export async function endNetd({ dir, client }: Netd): Promise<void> {
  await client.request('shutdown', {});
  await client.closed;
  client.close();
  rmSync(dir, { recursive: true, force: true });
}

/** What tapyard-tap is asked for, as its --tap has it without the descriptor: NIC:NETWORK:MAC:TAP. */
type Wanted = string;

/** What tapyard-tap reports of a tap; `steps` is netd's own account of the request. */
export interface Opened {
  readonly tap: string;
  readonly ifindex: number;
  readonly steps: readonly { readonly id: string; readonly ms: number }[];
}

export interface Holder {
  readonly taps: readonly Opened[];
  /** Ends the holder and waits until the kernel has let the taps go, which is when the process is over. */
  readonly close: () => Promise<void>;
}

/** Taps as a guest gets them: tapyard-tap asks netd, holds the descriptors, reports, and becomes `sleep`. */
export async function openTaps({ dir }: Netd, guest: string, wanted: readonly Wanted[]): Promise<Holder> {
  const taps = wanted.flatMap((tap, index) => ['--tap', `${10 + index}:${tap}`]);
  const child = spawn(
    ownProgram('tapyard-tap'),
    [
      ['exec', '--netd', join(dir, 'netd.sock'), '--lab', lab, '--guest', guest],
      taps,
      ['--report', '3', '--', 'sleep', '600'],
    ].flat(),
    { stdio: ['ignore', 'ignore', 'inherit', 'pipe'] },
  );
  const pipe = child.stdio[3];
  if (!(pipe instanceof Duplex)) throw new Error('there is no report pipe');
  const report = await firstLine(child, pipe);
  if (!report.startsWith('{"taps"')) throw new Error(`tapyard-tap reported ${report || 'nothing'}`);
  pipe.end('\n');
  const opened: { taps: Opened[] } = JSON.parse(report);
  const close = async (): Promise<void> => {
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  return { taps: opened.taps, close };
}
