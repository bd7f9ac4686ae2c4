// SPDX-License-Identifier: Apache-2.0
import process from 'node:process';
import { TapyardError } from '../contract/error.ts';
import { CoreSeat } from '../core/host/core-seat.ts';
import { rendererDirectory } from '../core/host/programs.ts';
import { serve, type ServeOptions, type Serving } from '../serve/serve.ts';
import { startCore } from './start-core.ts';
import type { Terminal } from './terminal.ts';

const joinDeadline = 10_000;

/** Serves the window to browsers. The core runs in this process unless another hosts it. */
export async function serveHere(at: ServeOptions['at']): Promise<Serving> {
  const seat = new CoreSeat({ start: startCore, deadlineMs: joinDeadline });
  await seat.hold();
  const serving = await serve({
    at,
    page: rendererDirectory(),
    attach: (channel) => seat.attach(channel, 'browser'),
  }).catch(async (thrown: unknown) => {
    await seat.close();
    throw thrown;
  });
  return {
    ...serving,
    close: async () => {
      await serving.close();
      await seat.close();
    },
  };
}

/** Resolves with the name of the signal that ends a command which runs until it is told to. */
export function untilSignalled(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => resolve(name));
  });
}

/**
 * How to open the address from where the user sits, for one who has come by ssh; empty otherwise. Any name below
 * .localhost is the browser's own computer, so the port must be the same there.
 */
export function tunnelText(
  environment: Readonly<Record<string, string | undefined>>,
  origin: string,
): string {
  const port = /:([0-9]+)$/.exec(origin)?.[1];
  // SSH_CONNECTION: address and port of the client, then of the server (ssh(1)).
  const server = environment['SSH_CONNECTION']?.split(' ')[2];
  if (port === undefined || server === undefined || !/^[0-9a-fA-F.:]+$/.test(server)) return '';
  return `You came by ssh. On your own computer run: ssh -N -L ${port}:127.0.0.1:${port} ${server}\nand open the address there.\n`;
}

/** On each Enter prints a new address, as each works only once. @returns what stops it */
export function offerAddresses(terminal: Terminal, serving: Serving): () => void {
  if (!process.stdin.isTTY) return () => undefined;
  const onEnter = (): void => terminal.out(`${serving.address()}\n`);
  process.stdin.on('data', onEnter);
  return () => {
    process.stdin.off('data', onEnter).pause();
  };
}

/** A port of the command line. @throws TapyardError USAGE */
export function portOf(text: string): number {
  const port = Number(text);
  if (/^[0-9]{1,5}$/.test(text) && port <= 65_535) return port;
  throw new TapyardError('USAGE', `“${text}” is not a port.`, {
    hint: 'A port is a number from 0 to 65535.',
  });
}
