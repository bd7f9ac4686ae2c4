// SPDX-License-Identifier: Apache-2.0
import { useEffect, useState } from 'react';
import { useClient } from '../../store/core.ts';
import { useNetworks } from '../../store/select.ts';
import type { Row } from '../../store/tables.ts';
import { formOf, newForm, withSubnet, type NetworkForm, type Used } from './network-form.ts';

interface FormState {
  readonly form: NetworkForm;
  readonly setForm: (next: NetworkForm) => void;
  /** The subnets of this computer and its labs, once the core has answered. */
  readonly used: readonly Used[];
}

/** What the form says: of the network that is edited, or of a new one with a subnet that nothing uses. */
export function useNetworkForm(lab: Row<'labs'>, edited: Row<'networks'> | null): FormState {
  const client = useClient();
  const networks = useNetworks(lab.id);
  const [form, setForm] = useState<NetworkForm>(() => (edited ? formOf(edited) : newForm(networks)));
  const [used, setUsed] = useState<readonly Used[]>([]);
  const isNew = edited === null;
  useEffect(() => {
    const abort = new AbortController();
    client.network.subnets({ lab: lab.name }, { signal: abort.signal }).then(
      (answer) => {
        setUsed(answer.used);
        if (isNew) setForm((old) => (old.subnet === '' ? withSubnet(old, answer.free) : old));
      },
      // Without a suggestion a subnet can still be typed.
      () => {},
    );
    return () => abort.abort();
  }, [client, lab.name, isNew]);
  return { form, setForm, used };
}
