// SPDX-License-Identifier: Apache-2.0
import type { WebSocket } from 'ws';
import { TapyardError } from '../contract/error.ts';
import { type Greeting, Introduction } from '../contract/handshake.ts';
import { parseMessage, refused } from '../contract/wire.ts';
import type { PausableChannel } from '../core/host/socket-channel.ts';
import { webSocketChannel } from './channel.ts';
import type { Sessions } from './session.ts';

/** A page must introduce itself within this, ms. */
const introductionDeadline = 10_000;
/** Longest introduction, characters. */
const introductionLimit = 512;

/**
 * Challenges a page, admits it by its token or its proof, and hands its channel on. A page that is not
 * admitted is told why and closed. Never rejects.
 */
export async function admitSocket(
  socket: WebSocket,
  sessions: Sessions,
  attach: (channel: PausableChannel) => Promise<void>,
): Promise<void> {
  const channel = webSocketChannel(socket);
  const say = (greeting: Greeting): void => channel.send(JSON.stringify(greeting));
  const challenge = sessions.challenge();
  say({ t: 'challenge', challenge });
  try {
    const introduction = await introductionOf(channel);
    const { session, fresh } = sessions.admit(introduction, challenge);
    socket.once(
      'close',
      sessions.join(session, () => channel.close()),
    );
    // What the page says next waits until somebody listens.
    channel.pause();
    say(fresh ? { t: 'session', ...session } : { t: 'welcome' });
  } catch (thrown) {
    say({ t: 'denied', error: TapyardError.from(thrown).toData() });
    channel.close();
    return;
  }
  try {
    await attach(channel);
  } catch (thrown) {
    // From here on the page speaks the wire.
    channel.resume();
    channel.send(refused(TapyardError.from(thrown)));
    channel.close();
  }
}

function introductionOf(channel: PausableChannel): Promise<Introduction> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new TapyardError('SESSION_INVALID', 'The page did not say who it is in time.')),
      introductionDeadline,
    );
    channel.onClose = () => {
      clearTimeout(timer);
      reject(new TapyardError('SESSION_INVALID', 'The page went away.'));
    };
    channel.onMessage = (message) => {
      clearTimeout(timer);
      channel.onMessage = undefined;
      const introduction =
        typeof message === 'string' && message.length <= introductionLimit
          ? parseMessage(Introduction, message)
          : undefined;
      if (introduction === undefined) {
        reject(new TapyardError('SESSION_INVALID', 'The page did not say who it is.'));
      } else {
        resolve(introduction);
      }
    };
  });
}
