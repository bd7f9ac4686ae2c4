// SPDX-License-Identifier: Apache-2.0
import type { ByteStream, Client } from '../../../electron/contract/client.ts';
import type { TapyardError } from '../../../electron/contract/error.ts';

/** A duplex object in the shape of a WebSocket. noVNC looks for these on the object or its direct prototype. */
export interface RawChannel {
  binaryType: string;
  readonly protocol: string;
  readonly readyState: string | number;
  onopen: (() => void) | null;
  onmessage: ((event: { data: ArrayBuffer }) => void) | null;
  onclose: ((event: { code: number; reason: string; wasClean: boolean }) => void) | null;
  onerror: ((event: unknown) => void) | null;
  readonly send: (data: Uint8Array) => void;
  readonly close: () => void;
}

/**
 * A guest's screen stream in the shape of a WebSocket, which is what noVNC reads and writes. All members are
 * the object's own: noVNC looks no further than its direct prototype.
 */
export function rfbChannel(
  client: { readonly consoles: Pick<Client['consoles'], 'screen'> },
  guest: { readonly lab: string; readonly guest: string },
  onEnd: (error: TapyardError | undefined) => void,
): RawChannel {
  let stream: ByteStream | null = null;
  let state: 'open' | 'closed' = 'open';
  const finish = (error: TapyardError | undefined): void => {
    if (state === 'closed') return;
    state = 'closed';
    onEnd(error);
    channel.onclose?.({
      code: error ? 1011 : 1000,
      reason: error?.message ?? '',
      wasClean: error === undefined,
    });
  };
  const channel: RawChannel = {
    binaryType: 'arraybuffer',
    protocol: '',
    get readyState() {
      return state;
    },
    onopen: null,
    onmessage: null,
    onclose: null,
    onerror: null,
    send(data) {
      // noVNC hands out a view of a buffer that it fills again.
      if (state === 'open') stream?.write(data.slice());
    },
    close() {
      stream?.close();
      // As a WebSocket does: noVNC is not ready for the event before this call has returned.
      queueMicrotask(() => finish(undefined));
    },
  };
  stream = client.consoles.screen(guest, {
    data(chunk) {
      if (state === 'open') channel.onmessage?.({ data: toArrayBuffer(chunk) });
    },
    end: finish,
  });
  return channel;
}

/** The bytes alone in a buffer of their own: noVNC takes the whole buffer. */
function toArrayBuffer(chunk: Uint8Array): ArrayBuffer {
  const copy = new ArrayBuffer(chunk.length);
  new Uint8Array(copy).set(chunk);
  return copy;
}
