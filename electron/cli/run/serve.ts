// SPDX-License-Identifier: Apache-2.0
import { resolve } from 'node:path';
import process from 'node:process';
import { TapyardError } from '../../contract/error.ts';
import { offerAddresses, portOf, serveHere, tunnelText, untilSignalled } from '../browser.ts';
import type { Run } from '../commands.ts';

export const run: Run = async ({ options, terminal }) => {
  const { port, socket } = options;
  if (port !== undefined && socket !== undefined) {
    throw new TapyardError('USAGE', 'serve listens on a port or on a socket, not on both.');
  }
  const serving = await serveHere(
    typeof socket === 'string'
      ? { socket: resolve(socket) }
      : { port: typeof port === 'string' ? portOf(port) : 0 },
  );
  const signalled = untilSignalled();
  const stopOffering = offerAddresses(terminal, serving);
  terminal.out(`${serving.address()}\n`);
  terminal.err(
    'The address works once, within 60 s. Enter prints a new one; Ctrl+C ends, guests keep running.\n',
  );
  terminal.err(tunnelText(process.env, serving.origin));
  await signalled;
  stopOffering();
  await serving.close();
  return 0;
};
