// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process';
import { constants, copyFileSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline/promises';
import { fileURLToPath } from 'node:url';
import { TapyardError } from '../../contract/error.ts';
import { errnoOf } from '../../core/host/atomic-write.ts';
import { applicationDirectory, demoLabFile, findProgram } from '../../core/host/programs.ts';
import { dataDir } from '../../core/host/runtime-dir.ts';
import { redirectFile } from '../../serve/redirect.ts';
import { offerAddresses, serveHere, tunnelText, untilSignalled } from '../browser.ts';
import type { Invocation, Run } from '../commands.ts';
import { chooseOpening, electronProgram } from '../electron.ts';
import { rowsOf } from '../mirror.ts';
import { showError } from '../terminal.ts';
import { bringDown } from './down.ts';
import { bringUp } from './up.ts';

/** How long the question about the guests waits for its answer, ms. */
const questionDeadline = 60_000;

/**
 * The tutorial's lab file among the user's labs, copied there once; an edited one stays as it is.
 * @returns its path
 */
export function demoFile(): string {
  const file = join(dataDir(), 'labs', 'seed.yaml');
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  try {
    copyFileSync(demoLabFile(), file, constants.COPYFILE_EXCL);
  } catch (thrown) {
    if (errnoOf(thrown) !== 'EEXIST') throw thrown;
  }
  return file;
}

/** Asks whether to leave the guests running; yes without a terminal, without an answer, and by default. */
async function keepGuests(labs: readonly string[]): Promise<boolean> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return true;
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  const signal = AbortSignal.timeout(questionDeadline);
  const leave = new AbortController();
  // A second Ctrl+C is an answer too.
  reader.once('SIGINT', () => leave.abort());
  try {
    const question = `\nKeep ${labs.join(', ')} running? [Y/n] `;
    const answer = await reader.question(question, { signal: AbortSignal.any([signal, leave.signal]) });
    return !/^n/i.test(answer.trim());
  } catch {
    return true;
  } finally {
    reader.close();
  }
}

/** What comes after the window or the browser was closed: the labs that are up stay or go. */
async function partFromLabs({ core, terminal }: Invocation): Promise<void> {
  await core(async (connection) => {
    const labs = (await rowsOf(connection, connection.client.tables.labs))
      .filter((lab) => lab.state !== 'down')
      .map((lab) => lab.name);
    if (labs.length === 0) return;
    if (await keepGuests(labs)) {
      // In a checkout nobody has a `tapyard` on the PATH: npm says which script it runs (npm-run-script).
      const call = process.env['npm_lifecycle_event'] === undefined ? 'tapyard' : 'npm run -s tapyard --';
      terminal.err(`Guests keep running: ${labs.join(', ')}. To bring a lab down: ${call} down\n`);
      return;
    }
    for (const lab of labs) await bringDown(connection, terminal, lab, false);
    terminal.err(`Down: ${labs.join(', ')}.\n`);
  });
}

async function openWindow(program: string): Promise<void> {
  const { ELECTRON_RUN_AS_NODE: _, ...environment } = process.env;
  const child = spawn(program, [applicationDirectory() ?? '.'], {
    env: environment,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const signalled = untilSignalled().then(() => child.kill('SIGTERM'));
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => resolve());
  });
  void signalled;
}

async function openBrowser({ terminal }: Invocation): Promise<void> {
  const serving = await serveHere({ port: 0 });
  const signalled = untilSignalled();
  const opener = findProgram('xdg-open');
  const hasDisplay = ['WAYLAND_DISPLAY', 'DISPLAY'].some((name) => (process.env[name] ?? '') !== '');
  let file: ReturnType<typeof redirectFile> | undefined;
  if (opener !== undefined && hasDisplay) {
    file = redirectFile(serving.address());
    spawn(opener, [file.path], { stdio: 'ignore', detached: true })
      .on('error', () => undefined)
      .unref();
  }
  const stopOffering = offerAddresses(terminal, serving);
  terminal.out(`${serving.address()}\n`);
  terminal.err('The address works once, within 60 s. Enter prints a new one; Ctrl+C ends.\n');
  terminal.err(tunnelText(process.env, serving.origin));
  await signalled;
  stopOffering();
  file?.remove();
  await serving.close();
}

export const run: Run = async (invocation) => {
  const { terminal, options } = invocation;
  if (options['demo'] === true) {
    const file = demoFile();
    try {
      const status = await invocation.core(
        async (connection) => (await bringUp(connection, invocation, file, undefined)).status,
      );
      if (status !== 0) return status;
    } catch (thrown) {
      // The window says more about what is wrong than a failed command could.
      if (!(thrown instanceof TapyardError)) throw thrown;
      showError(terminal, thrown, false);
    }
  }
  const running = process.versions['electron'] === undefined ? undefined : process.execPath;
  const electron = electronProgram(process.env, fileURLToPath(import.meta.url), running);
  const opening = chooseOpening(process.env, electron);
  terminal.err(
    opening.kind === 'window'
      ? `Opening the desktop window: ${opening.why}.\n`
      : `No desktop window: ${opening.why}. Open this address in a browser on this computer:\n`,
  );
  await (opening.kind === 'window' ? openWindow(opening.program) : openBrowser(invocation));
  await partFromLabs(invocation);
  return 0;
};
