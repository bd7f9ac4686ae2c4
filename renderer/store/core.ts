// SPDX-License-Identifier: Apache-2.0
import { create } from 'zustand';
import type { Client, Connection } from '../../electron/contract/client.ts';
import { TapyardError, type ErrorData } from '../../electron/contract/error.ts';
import { setGaugeClient } from './gauges.ts';
import { followTables } from './tables.ts';

/** Opens a connection to a core; rejects with a TapyardError. */
export type Dial = () => Promise<Connection>;

/** How this window stands with the core. */
export interface CoreState {
  /**
   * `first`: never connected yet; `ready`: the tables are those of a live core; `lost`: they are what was seen
   * last; `mismatch`: the core speaks another contract, only loading the page anew helps.
   */
  readonly status: 'first' | 'ready' | 'lost' | 'mismatch';
  /** Why there is no connection now. */
  readonly error: ErrorData | null;
  /** The client of the last connection. Calls on one that is gone reject with CORE_UNREACHABLE. */
  readonly client: Client | null;
}

/** The connection, as {@link keepConnected} sees it. */
export const useCore = create<CoreState>(() => ({ status: 'first', error: null, client: null }));

/** The client of the core. For components inside the frame, which is drawn once a core has answered. */
export function useClient(): Client {
  const client = useCore((state) => state.client);
  if (!client) throw new Error('the frame is drawn before there is a client');
  return client;
}

/** Waits before the next attempts, ms: quick at first, for a core that is just being replaced. */
const waits = [100, 200, 400, 800, 1500, 3000];

/** Stays connected for as long as the page lives. */
export async function keepConnected(dial: Dial): Promise<never> {
  for (let attempt = 0; ;) {
    let lost: TapyardError;
    try {
      const connection = await dial();
      const { client } = connection;
      const tables = followTables(client, () => useCore.setState({ status: 'ready', error: null }));
      useCore.setState({ client });
      setGaugeClient(client);
      attempt = 0;
      lost = await connection.closed;
      setGaugeClient(null);
      tables.close();
    } catch (thrown) {
      lost = TapyardError.from(thrown);
    }
    const mismatch = lost.code === 'CONTRACT_MISMATCH';
    useCore.setState((state) => ({
      status: mismatch ? 'mismatch' : state.status === 'first' ? 'first' : 'lost',
      error: lost.toData(),
    }));
    const wait = waits[Math.min(attempt++, waits.length - 1)] ?? 3000;
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}
