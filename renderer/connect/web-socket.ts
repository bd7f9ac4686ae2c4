// SPDX-License-Identifier: Apache-2.0
import type { Channel } from '../../electron/contract/client.ts';
import { TapyardError } from '../../electron/contract/error.ts';
import { Greeting, SessionKey, type Introduction } from '../../electron/contract/handshake.ts';
import { parseMessage } from '../../electron/contract/wire.ts';

const admissionDeadline = 10_000;
/** Where the session key stays: it lives as long as the tab, and no other port of this host sees it. */
const storageKey = 'tapyard-session';

const fromBase64Url = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (letter) => letter.charCodeAt(0));

const toBase64Url = (bytes: ArrayBuffer): string =>
  btoa(String.fromCharCode(...new Uint8Array(bytes)))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');

/** HMAC-SHA256 of `challenge` by a session's key, base64url. */
export async function proofOf(key: string, challenge: string): Promise<string> {
  const imported = await crypto.subtle.importKey(
    'raw',
    fromBase64Url(key),
    { name: 'HMAC', hash: 'SHA-256' },
    false,
    ['sign'],
  );
  return toBase64Url(await crypto.subtle.sign('HMAC', imported, new TextEncoder().encode(challenge)));
}

/** The token of this page's address, taken out of it: it works once, and the address is seen by people. */
function takeToken(): string | undefined {
  const token = /^#t=([A-Za-z0-9_-]{43})$/.exec(location.hash)?.[1];
  if (token !== undefined) history.replaceState(null, '', location.pathname);
  return token;
}

function keptSession(): SessionKey | undefined {
  const text = sessionStorage.getItem(storageKey);
  return text === null ? undefined : parseMessage(SessionKey, text);
}

/** Why serve refused this page the last time; what is tried again without a session is refused for the same reason. */
let refusal: TapyardError | undefined;

async function introduce(token: string | undefined, challenge: string): Promise<Introduction> {
  if (token !== undefined) return { t: 'token', token };
  const session = keptSession();
  if (session !== undefined) {
    return { t: 'proof', session: session.id, proof: await proofOf(session.key, challenge) };
  }
  throw (
    refusal ??
    new TapyardError('SESSION_INVALID', 'This page was opened without the address that Tapyard printed.', {
      hint: 'Press Enter where tapyard serve runs, or start it again, and open the new address.',
    })
  );
}

/**
 * A WebSocket to the serve that this page came from, admitted by the token of the address or by the session
 * that an earlier token gave. @throws TapyardError CORE_UNREACHABLE, SESSION_INVALID
 */
export function webSocketChannel(): Promise<Channel> {
  const token = takeToken();
  const socket = new WebSocket(new URL('/wire', location.href.replace(/^http/, 'ws')));
  socket.binaryType = 'arraybuffer';
  return new Promise((resolve, reject) => {
    // Ends the listeners of the introduction; the channel has its own.
    const introduction = new AbortController();
    const { signal } = introduction;
    const fail = (error: TapyardError): void => {
      clearTimeout(timer);
      introduction.abort();
      socket.close();
      reject(error);
    };
    const unreachable = (): void =>
      fail(
        new TapyardError('CORE_UNREACHABLE', 'tapyard serve does not answer.', {
          hint: 'If it has ended, start it again and open the address that it prints. Guests keep running.',
        }),
      );
    const timer = setTimeout(unreachable, admissionDeadline);
    const greet = async (greeting: Greeting | undefined): Promise<void> => {
      if (greeting === undefined) {
        unreachable();
      } else if (greeting.t === 'challenge') {
        socket.send(JSON.stringify(await introduce(token, greeting.challenge)));
      } else if (greeting.t === 'denied') {
        const error = TapyardError.fromData(greeting.error);
        if (error.code === 'SESSION_INVALID') {
          sessionStorage.removeItem(storageKey);
          refusal = error;
        }
        fail(error);
      } else {
        if (greeting.t === 'session') {
          sessionStorage.setItem(storageKey, JSON.stringify({ id: greeting.id, key: greeting.key }));
        }
        clearTimeout(timer);
        introduction.abort();
        resolve(channelOf(socket));
      }
    };
    socket.addEventListener('close', unreachable, { signal });
    socket.addEventListener(
      'message',
      ({ data }: MessageEvent<unknown>) => {
        const greeting = typeof data === 'string' ? parseMessage(Greeting, data) : undefined;
        greet(greeting).catch((thrown: unknown) => fail(TapyardError.from(thrown)));
      },
      { signal },
    );
  });
}

function channelOf(socket: WebSocket): Channel {
  const channel: Channel = {
    onMessage: undefined,
    onClose: undefined,
    get buffered() {
      return socket.bufferedAmount;
    },
    send: (message) => {
      if (socket.readyState !== WebSocket.OPEN) return;
      socket.send(typeof message === 'string' ? message : new Uint8Array(message));
    },
    close: () => socket.close(),
  };
  socket.addEventListener('message', ({ data }: MessageEvent<unknown>) => {
    if (typeof data === 'string') channel.onMessage?.(data);
    else if (data instanceof ArrayBuffer) channel.onMessage?.(new Uint8Array(data));
  });
  socket.addEventListener('close', () =>
    channel.onClose?.('tapyard serve has ended or the way to it is cut'),
  );
  return channel;
}
