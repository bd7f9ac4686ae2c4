// SPDX-License-Identifier: Apache-2.0
import type { Client, Subscription } from '../../electron/contract/client.ts';
import type { contract } from '../../electron/contract/contract.ts';
import type { z } from '../../electron/contract/zod.ts';

type GaugeLeaves = (typeof contract)['gauges'];
type GaugeName = keyof GaugeLeaves;
type Value<Name extends GaugeName> = z.output<GaugeLeaves[Name]['value']>;

/**
 * A gauge beside React: latest value by id, told to listeners that write a text node or a canvas. The core
 * is asked only while somebody listens and the document is visible.
 */
export interface Gauge<V> {
  /** Calls `listener` with each value of `id`, at once if one is known. Returns what ends it. */
  listen(id: string, listener: (value: V) => void): () => void;
  /** Calls `listener` with each batch of values. For canvases that draw many at once. */
  listenAll(listener: (values: ReadonlyMap<string, V>) => void): () => void;
  /** The latest value, undefined when none came or nobody listens. */
  latest(id: string): V | undefined;
}

interface OpenGauge<V> extends Gauge<V> {
  update(client: Client | null): void;
}

function makeGauge<V>(
  open: (client: Client, listener: (values: ReadonlyMap<string, V>) => void) => Subscription,
): OpenGauge<V> {
  const byId = new Map<string, Set<(value: V) => void>>();
  const forAll = new Set<(values: ReadonlyMap<string, V>) => void>();
  const values = new Map<string, V>();
  let client: Client | null = null;
  let subscription: Subscription | null = null;
  let subscribedTo: Client | null = null;

  const tell = (batch: ReadonlyMap<string, V>): void => {
    for (const [id, value] of batch) {
      values.set(id, value);
      const listeners = byId.get(id);
      if (listeners) for (const listener of listeners) listener(value);
    }
    for (const listener of forAll) listener(batch);
  };

  const settle = (): void => {
    const watched = byId.size > 0 || forAll.size > 0;
    const wanted = watched && document.visibilityState === 'visible' ? client : null;
    if (wanted === subscribedTo) return;
    subscription?.close();
    subscribedTo = wanted;
    subscription = wanted ? open(wanted, tell) : null;
    // What was true before the pause is not what is true now.
    if (!wanted) values.clear();
  };
  document.addEventListener('visibilitychange', settle);

  return {
    listen(id, listener) {
      let listeners = byId.get(id);
      if (!listeners) byId.set(id, (listeners = new Set()));
      listeners.add(listener);
      const known = values.get(id);
      if (known !== undefined) listener(known);
      settle();
      return () => {
        listeners.delete(listener);
        if (listeners.size === 0 && byId.get(id) === listeners) byId.delete(id);
        settle();
      };
    },
    listenAll(listener) {
      forAll.add(listener);
      settle();
      return () => {
        forAll.delete(listener);
        settle();
      };
    },
    latest: (id) => values.get(id),
    update(next) {
      client = next;
      settle();
    },
  };
}

const open = {
  rates: makeGauge<Value<'rates'>>((client, listener) => client.gauges.rates(listener)),
  flows: makeGauge<Value<'flows'>>((client, listener) => client.gauges.flows(listener)),
  tails: makeGauge<Value<'tails'>>((client, listener) => client.gauges.tails(listener)),
  cpu: makeGauge<Value<'cpu'>>((client, listener) => client.gauges.cpu(listener)),
};

/** All gauges of the contract: `gauges.rates.listen('seed/tap0', …)`. */
export const gauges: { readonly [Name in GaugeName]: Gauge<Value<Name>> } = open;

/** Points the gauges at a core, or at none while the connection is gone. */
export function setGaugeClient(client: Client | null): void {
  for (const gauge of Object.values(open)) gauge.update(client);
}
