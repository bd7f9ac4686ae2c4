// SPDX-License-Identifier: Apache-2.0
import { useEffect, useState, type ComponentType, type ReactElement } from 'react';

const loaders: (() => Promise<unknown>)[] = [];

/**
 * A part of the window that is not in its first picture, in a chunk of its own. It is drawn at once where its code is
 * there (`loadLater` sees to that), which `lazy` does not: it shows its fallback first, and React then lets a third of
 * a second pass.
 */
export function later<Props extends object>(
  load: () => Promise<{ readonly default: ComponentType<Props> }>,
): ComponentType<Props> {
  let part: ComponentType<Props> | null = null;
  const loadPart = async (): Promise<ComponentType<Props>> => (part ??= (await load()).default);
  loaders.push(loadPart);
  return function Later(props: Props): ReactElement | null {
    const [Part, setPart] = useState(() => part);
    const [failure, setFailure] = useState<Error | null>(null);
    useEffect(() => {
      if (!Part) loadPart().then((loaded) => setPart(() => loaded), setFailure);
    }, [Part]);
    if (failure) throw failure; // for the boundary around it
    return Part ? <Part {...props} /> : null;
  };
}

const idle = (): Promise<void> => new Promise((resolve) => requestIdleCallback(() => resolve()));

/** Loads all of them, one after another, whenever there is nothing better to do. Returns how to stop that. */
export function loadLater(): () => void {
  let stopped = false;
  const loadAll = async (): Promise<void> => {
    for (const load of loaders) {
      await idle();
      if (stopped) return;
      await load().catch(() => {}); // said where it is wanted
    }
  };
  void loadAll();
  return () => {
    stopped = true;
  };
}
