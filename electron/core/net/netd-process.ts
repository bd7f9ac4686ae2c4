// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ErrorData, TapyardError } from '../../contract/error.ts';
import type { Scope } from '../../contract/names.ts';
import { ownProgram } from '../host/programs.ts';
import { labDir, makePrivateDir, runtimeDir, socketPath, stateDir } from '../host/runtime-dir.ts';
import { type HostScopeWay, hostScopeDenied, hostScopeWays, pkexecRefusal } from './host-scope.ts';
import { NetdClient } from './netd-client.ts';
import { NetdReady } from './netd-protocol.ts';

/** Until netd listens, ms: it makes namespaces and waits for pasta. */
const readyDeadline = 20_000;
/** How long what somebody is about to be asked is shown before a dialogue may cover it, ms. */
const tellingTime = 200;
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
 * this call made it. Throws NETD_MISSING, NETD_FAILED, USERNS_DENIED, HOST_SCOPE_DENIED, HOST_SCOPE_DISMISSED, RUNTIME_*, and
 * whatever else netd says why it cannot start. `tell` hears what the user is about to be asked by somebody else
 * (polkit), and why, before that is asked.
 */
export async function ensureNetd(
  scope: Scope,
  lab: string,
  tell?: (asks: string) => void,
): Promise<{ client: NetdClient; started: boolean }> {
  const running = await connectNetd(scope, lab);
  if (running) return { client: running, started: false };
  const started = !netdLeftSomething(scope, lab);
  await startNetd(scope, lab, tell);
  const client = await connectNetd(scope, lab);
  if (!client)
    throw new TapyardError('NETD_FAILED', 'The network helper started and went away at once.', {
      hint: `Its log is ${logFile(scope, lab)}.`,
    });
  return { client, started };
}

/** Ours to start in the private scope, or a way to the host scope. */
type Way = Omit<HostScopeWay, 'kind'> & { readonly kind: HostScopeWay['kind'] | 'private' };

const privateWays = (): Way[] => [
  { kind: 'private', command: [ownProgram('tapyard-netd')], patience: readyDeadline },
];

async function startNetd(scope: Scope, lab: string, tell?: (asks: string) => void): Promise<void> {
  netdSocket(scope, lab); // too long a path is told here, in our words
  const dir = makePrivateDir(netdDir(scope, lab));
  const ways: Way[] = scope === 'private' ? privateWays() : hostScopeWays();
  const args = ['--scope', scope, ...(scope === 'private' ? ['--lab', lab] : []), '--dir', dir];
  let denied: TapyardError | undefined;
  try {
    for (const { kind, command, patience, asks } of ways) {
      try {
        if (asks !== undefined) {
          tell?.(asks);
          await sleep(tellingTime);
        }
        const said = await runNetd([...command, ...args], { scope, lab, patience });
        if (said === undefined) return;
        if (said.code !== 'HOST_SCOPE_DENIED') throw said;
        // Its file capabilities are ignored where it lies (nosuid), or in this session (no_new_privs).
        denied ??= hostScopeDenied(dir, kind === 'group' ? unprivileged(command) : undefined);
      } catch (thrown) {
        const refused = kind === 'polkit' && thrown instanceof NetdEnded ? refusal(thrown) : undefined;
        throw refused ?? thrown;
      }
    }
    throw denied ?? hostScopeDenied(dir);
  } catch (error) {
    // A netd that may not start has made its lock and nothing else; nobody would remove it.
    if (!netdLeftSomething(scope, lab)) rmSync(join(dir, 'netd.lock'), { force: true });
    throw error;
  }
}

/** Starts netd; what it says why it cannot serve, undefined when it serves. Throws NETD_FAILED. */
async function runNetd(
  [program = '', ...args]: readonly string[],
  { scope, lab, patience }: { scope: Scope; lab: string; patience: number },
): Promise<TapyardError | undefined> {
  const log = openLog(logFile(scope, lab));
  try {
    // Its own session, so that neither a Ctrl+C in our terminal nor our end reaches it.
    const child = spawn(program, args, {
      detached: true,
      stdio: ['ignore', 'pipe', log],
      env: netdEnvironment(),
      cwd: '/',
    });
    const line = await firstLine(child, scope, lab, patience);
    const said = NetdReady.safeParse(parseJson(line));
    if (!said.success) throw failed(`it said "${line.slice(0, 200)}"`, scope, lab);
    return 'error' in said.data ? startError(said.data.error) : undefined;
  } finally {
    closeSync(log);
  }
}

const unprivileged = ([program = '']: readonly string[]): string =>
  `${program} has no privilege: its file capabilities are missing, or ignored (a file system mounted nosuid, or a session with no_new_privs).`;

/** What pkexec meant by ending as it did; its words are the last of the log. */
function refusal({ status, log }: NetdEnded): TapyardError | undefined {
  return pkexecRefusal(status, readTail(log));
}

function readTail(path: string): string {
  try {
    return readFileSync(path, 'utf8').slice(-1000);
  } catch {
    return '';
  }
}

/** netd reads one variable: who called sudo, whose checkout it may then be run from. */
function netdEnvironment(): Record<string, string> {
  const caller = process.env['SUDO_UID'];
  return caller === undefined ? {} : { SUDO_UID: caller };
}

/** netd, or what was to start it, ended without a word on its standard output. NETD_FAILED. */
class NetdEnded extends TapyardError {
  readonly status: number | null;
  readonly log: string;

  constructor(status: number | null, how: string, scope: Scope, lab: string) {
    const log = logFile(scope, lab);
    super('NETD_FAILED', `The network helper did not start: it ended with ${how}.`, {
      hint: `Its log is ${log}.`,
      subject: lab,
    });
    this.status = status;
    this.log = log;
  }
}

function firstLine(
  child: ReturnType<typeof spawn>,
  scope: Scope,
  lab: string,
  patience: number,
): Promise<string> {
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
      finish(() => reject(failed(`it was not ready within ${patience / 1000} s`, scope, lab)));
    }, patience);
    child.stdout?.setEncoding('utf8');
    child.stdout?.on('data', (chunk: string) => {
      text += chunk;
      const newline = text.indexOf('\n');
      if (newline !== -1 || text.length > 65_536) finish(() => resolve(text.slice(0, newline)));
    });
    child.once('error', (error) => finish(() => reject(failed(error.message, scope, lab))));
    // `close` comes after the last of stdout, so an error line is not lost to the exit.
    child.once('close', (code, signal) =>
      finish(() => reject(new NetdEnded(code, signal ?? `exit status ${code}`, scope, lab))),
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

function startError(data: ErrorData): TapyardError {
  const code = startCodes[data.code] ?? data.code;
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
