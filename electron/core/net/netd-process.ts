// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { type ErrorData, TapyardError } from '../../contract/error.ts';
import type { Scope } from '../../contract/names.ts';
import { hostScopeNetd, installedNetd, ownProgram } from '../host/programs.ts';
import { labDir, makePrivateDir, runtimeDir, socketPath, stateDir } from '../host/runtime-dir.ts';
import { NetdClient } from './netd-client.ts';
import { NetdReady } from './netd-protocol.ts';

/** Until netd listens, ms: it makes namespaces and waits for pasta. */
const readyDeadline = 20_000;
/** A log is set aside when it has grown past this, bytes; one old one is kept. */
const logLimit = 1_048_576;

/** netd's directory: one for each lab in the private scope, one for all labs in the host scope. */
export function netdDir(scope: Scope, lab: string): string {
  return scope === 'private' ? join(labDir(lab), 'netd') : join(runtimeDir(), 'netd-host');
}

/** netd's socket. Throws RUNTIME_PATH_TOO_LONG. */
export function netdSocket(scope: Scope, lab: string): string {
  return socketPath(netdDir(scope, lab), 'netd.sock');
}

/** Whether a netd, or what a killed one left (its anchor, its journal), is there for this lab. */
export function netdLeftSomething(scope: Scope, lab: string): boolean {
  try {
    // The lock file alone says nothing: netd makes it before anything else.
    return readdirSync(netdDir(scope, lab)).some((name) => name !== 'netd.lock');
  } catch {
    return false;
  }
}

/** Connects to the netd that runs for this lab; undefined when none runs. */
export async function connectNetd(scope: Scope, lab: string): Promise<NetdClient | undefined> {
  const socket = netdSocket(scope, lab);
  if (!existsSync(socket)) return undefined;
  try {
    return await NetdClient.connect(socket);
  } catch (error) {
    // A socket that nobody listens on is what a killed netd leaves.
    if (error instanceof TapyardError && error.code === 'NETD_MISSING') return undefined;
    throw error;
  }
}

/**
 * Connects to netd, starting it where it does not run. It outlives this process. `started` says whether
 * this call made it. Throws NETD_MISSING, NETD_FAILED, USERNS_DENIED, HOST_SCOPE_DENIED, RUNTIME_*, and
 * whatever else netd says why it cannot start.
 */
export async function ensureNetd(
  scope: Scope,
  lab: string,
): Promise<{ client: NetdClient; started: boolean }> {
  const running = await connectNetd(scope, lab);
  if (running) return { client: running, started: false };
  const started = !netdLeftSomething(scope, lab);
  await startNetd(scope, lab);
  const client = await connectNetd(scope, lab);
  if (!client)
    throw new TapyardError('NETD_FAILED', 'The network helper started and went away at once.', {
      hint: `Its log is ${logFile(scope, lab)}.`,
    });
  return { client, started };
}

async function startNetd(scope: Scope, lab: string): Promise<void> {
  const program = scope === 'private' ? ownProgram('tapyard-netd') : hostScopeNetd(process.getuid?.() === 0);
  if (program === undefined) throw hostScopeDenied();
  netdSocket(scope, lab); // too long a path is told here, in our words
  const dir = makePrivateDir(netdDir(scope, lab));
  const args = ['--scope', scope, ...(scope === 'private' ? ['--lab', lab] : []), '--dir', dir];
  const log = openLog(logFile(scope, lab));
  try {
    // Its own session, so that neither a Ctrl+C in our terminal nor our end reaches it.
    const child = spawn(program, args, {
      detached: true,
      stdio: ['ignore', 'pipe', log],
      env: netdEnvironment(),
      cwd: '/',
    });
    const line = await firstLine(child, scope, lab);
    const said = NetdReady.safeParse(parseJson(line));
    if (!said.success) throw failed(`it said "${line.slice(0, 200)}"`, scope, lab);
    if ('error' in said.data) throw startError(said.data.error);
  } catch (error) {
    // A netd that may not start has made its lock and nothing else; nobody would remove it.
    if (!netdLeftSomething(scope, lab)) rmSync(join(dir, 'netd.lock'), { force: true });
    throw error;
  } finally {
    closeSync(log);
  }
}

/** netd reads one variable: who called sudo, whose checkout it may then be run from. */
function netdEnvironment(): Record<string, string> {
  const caller = process.env['SUDO_UID'];
  return caller === undefined ? {} : { SUDO_UID: caller };
}

function firstLine(child: ReturnType<typeof spawn>, scope: Scope, lab: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const finish = (settle: () => void): void => {
      clearTimeout(timer);
      child.stdout?.destroy();
      child.removeAllListeners();
      child.on('error', () => {}); // a late failure has nobody to tell
      child.unref();
      settle();
    };
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      finish(() => reject(failed(`it was not ready within ${readyDeadline / 1000} s`, scope, lab)));
    }, readyDeadline);
    child.stdout?.setEncoding('utf8');
    child.stdout?.on('data', (chunk: string) => {
      text += chunk;
      const newline = text.indexOf('\n');
      if (newline !== -1 || text.length > 65_536) finish(() => resolve(text.slice(0, newline)));
    });
    child.once('error', (error) => finish(() => reject(failed(error.message, scope, lab))));
    // `close` comes after the last of stdout, so an error line is not lost to the exit.
    child.once('close', (code, signal) =>
      finish(() => reject(failed(`it ended with ${signal ?? `exit status ${code}`}`, scope, lab))),
    );
  });
}

/** netd's own codes for not starting, in those that a user meets everywhere. */
const startCodes: Readonly<Record<string, ErrorData['code']>> = {
  NAMESPACE_DENIED: 'USERNS_DENIED',
  NO_PRIVILEGE: 'HOST_SCOPE_DENIED',
  ALREADY_RUNNING: 'NETD_RUNNING',
  PATH_TOO_LONG: 'RUNTIME_PATH_TOO_LONG',
  BAD_DIRECTORY: 'RUNTIME_DIR_UNSAFE',
  ANCHOR_FAILED: 'NETD_FAILED',
  USAGE: 'NETD_FAILED',
};

const startHints: Readonly<Record<string, string>> = {
  USERNS_DENIED: 'Run "tapyard check": it says which setting forbids user namespaces and how to allow them.',
};

function hostScopeDenied(): TapyardError {
  return new TapyardError(
    'HOST_SCOPE_DENIED',
    'The host scope changes the network of this computer, and you may not do that yet.',
    { hint: hostScopeHint(), subject: installedNetd },
  );
}

/** The ways to the host scope, as commands that an administrator can paste. */
function hostScopeHint(): string {
  let own: string;
  try {
    own = ownProgram('tapyard-netd');
  } catch {
    own = 'tapyard-netd';
  }
  return [
    'The private scope needs no privilege: --scope private. For the host scope let one group run the network helper:',
    'sudo groupadd -f tapyard',
    `sudo install -D -o root -g tapyard -m 0750 ${own} ${installedNetd}`,
    `sudo setcap cap_net_admin,cap_net_raw,cap_net_bind_service+ep ${installedNetd}`,
    'sudo usermod -aG tapyard "$USER"   # then log in again',
    'Or, once only, as root: sudo tapyard up --scope host',
  ].join('\n');
}

function startError(data: ErrorData): TapyardError {
  const code = startCodes[data.code] ?? data.code;
  if (code === 'HOST_SCOPE_DENIED') return hostScopeDenied();
  const hint = data.hint ?? startHints[code];
  return TapyardError.fromData({ ...data, code, ...(hint === undefined ? {} : { hint }) });
}

function failed(why: string, scope: Scope, lab: string): TapyardError {
  return new TapyardError('NETD_FAILED', `The network helper did not start: ${why}.`, {
    hint: `Its log is ${logFile(scope, lab)}.`,
    subject: lab,
  });
}

/** netd's log. */
export function logFile(scope: Scope, lab: string): string {
  return join(stateDir(), 'log', scope === 'private' ? `netd-${lab}.log` : 'netd-host.log');
}

function openLog(path: string): number {
  mkdirSync(join(path, '..'), { recursive: true, mode: 0o700 });
  if (existsSync(path) && statSync(path).size > logLimit) renameSync(path, `${path}.old`);
  return openSync(path, 'a', 0o600);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
