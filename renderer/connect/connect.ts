// SPDX-License-Identifier: Apache-2.0
import type { Connection } from '../../electron/contract/client.ts';
import { connect } from '../../electron/contract/connect.ts';
import { portChannel } from './message-port.ts';
import { webSocketChannel } from './web-socket.ts';

/** How long the core may take to its hello, ms. */
const helloDeadline = 10_000;

/**
 * Connects this page to the core: through the desktop shell's message port, or to `tapyard serve` by a
 * WebSocket. One attempt; whoever calls it decides when to try again. Gauges rest while the page is hidden.
 * @throws TapyardError CORE_UNREACHABLE, CONTRACT_MISMATCH, SESSION_INVALID (the address was used or is too old)
 */
export async function connectToCore(): Promise<Connection> {
  const inWindow = location.protocol === 'app:';
  const channel = inWindow ? await portChannel() : await webSocketChannel();
  const connection = await connect(channel, {
    role: inWindow ? 'window' : 'browser',
    deadlineMs: helloDeadline,
  });
  const tellVisible = (): void => connection.setVisible(!document.hidden);
  tellVisible();
  document.addEventListener('visibilitychange', tellVisible);
  void connection.closed.then(() => document.removeEventListener('visibilitychange', tellVisible));
  return connection;
}
