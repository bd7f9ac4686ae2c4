// SPDX-License-Identifier: Apache-2.0
import type { ForwardProtocol, Listening } from '../../../electron/contract/lab-file.ts';

/** Where a forward listens, in words: what is reached from where is the question, not the address. */
export const reaches = [
  { address: '127.0.0.1', words: 'This computer only' },
  { address: '0.0.0.0', words: 'The network too' },
] as const;

/** What is typed into the form of a forward. */
export interface ForwardForm {
  readonly port: string;
  readonly to: string;
  /** One of {@link reaches}. */
  readonly address: string;
  readonly protocol: ForwardProtocol;
}

/** What is wrong with each field; empty when all is right. `others` listen already. */
export function checkForward(
  form: ForwardForm,
  others: readonly Listening[],
): { port?: string; to?: string; address?: string } {
  const port = portOf(form.port);
  const to = form.to === '' ? port : portOf(form.to);
  const taken = others.some(
    (other) =>
      other.port === port &&
      other.protocol === form.protocol &&
      (other.address === form.address || [other.address, form.address].includes('0.0.0.0')),
  );
  return {
    ...(port === undefined
      ? { port: 'A port from 1 to 65535.' }
      : taken
        ? { port: `${form.port} is forwarded already.` }
        : {}),
    ...(form.protocol === 'udp' && form.address === '127.0.0.1'
      ? { address: 'UDP is led to guests from the network only.' }
      : {}),
    ...(to === undefined && port !== undefined ? { to: 'A port from 1 to 65535, or nothing.' } : {}),
  };
}

/** A port, undefined where it is none. */
export function portOf(text: string): number | undefined {
  const port = /^[0-9]{1,5}$/.test(text.trim()) ? Number(text) : 0;
  return port >= 1 && port <= 65_535 ? port : undefined;
}
