// SPDX-License-Identifier: Apache-2.0
import { useEffect, useMemo, useState } from 'react';
import type { ActRow } from '../../../electron/contract/act.ts';
import { useClient } from '../../store/core.ts';
import { applyChange } from '../../store/tables.ts';

type Acts = ReadonlyMap<string, ActRow>;

/** What the network helper did for a lab, the oldest first; null until the core has answered. Followed while it is looked at. */
export function useActs(lab: string): readonly ActRow[] | null {
  const client = useClient();
  const [acts, setActs] = useState<Acts | null>(null);
  useEffect(() => {
    const following = client.tables.acts((change) =>
      setActs((known) => applyChange<ActRow>(known ?? new Map(), change)),
    );
    return () => following.close();
  }, [client]);
  return useMemo(
    () => acts && [...acts.values()].filter((act) => act.lab === lab).sort((a, b) => a.order - b.order),
    [acts, lab],
  );
}
