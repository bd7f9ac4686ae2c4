// SPDX-License-Identifier: Apache-2.0
import { useMemo } from 'react';
import { useTables, type Row, type Tables } from './tables.ts';
import { useUi } from './ui.ts';

type LabTable = 'networks' | 'links' | 'guests' | 'forwards' | 'steps';

const byName = (a: { readonly name: string }, b: { readonly name: string }): number =>
  a.name.localeCompare(b.name, 'en', { numeric: true });

/** The rows of one lab, in the table's order. */
export function ofLab<Name extends LabTable>(table: Tables[Name], lab: string): Row<Name>[] {
  return [...table.values()].filter((row): row is Row<Name> => row.lab === lab);
}

/** The id of the lab in view: the chosen one while it is open, else the first by name. */
export function currentLabId(labs: Tables['labs'], chosen: string | null): string | null {
  if (chosen !== null && labs.has(chosen)) return chosen;
  return [...labs.values()].sort(byName)[0]?.id ?? null;
}

/** The lab in view, null when none is open. */
export function useLab(): Row<'labs'> | null {
  const labs = useTables((tables) => tables.labs);
  const chosen = useUi((ui) => ui.lab);
  const id = currentLabId(labs, chosen);
  return id === null ? null : (labs.get(id) ?? null);
}

/** All open labs by name. */
export function useLabs(): readonly Row<'labs'>[] {
  const labs = useTables((tables) => tables.labs);
  return useMemo(() => [...labs.values()].sort(byName), [labs]);
}

/** The lab's guests by name (web-2 before web-10). */
export function useGuests(lab: string): readonly Row<'guests'>[] {
  const guests = useTables((tables) => tables.guests);
  return useMemo(() => ofLab<'guests'>(guests, lab).sort(byName), [guests, lab]);
}

/** The lab's networks by name. */
export function useNetworks(lab: string): readonly Row<'networks'>[] {
  const networks = useTables((tables) => tables.networks);
  return useMemo(() => ofLab<'networks'>(networks, lab).sort(byName), [networks, lab]);
}

/** The interfaces of the lab's namespace by name. */
export function useLinks(lab: string): readonly Row<'links'>[] {
  const links = useTables((tables) => tables.links);
  return useMemo(() => ofLab<'links'>(links, lab).sort(byName), [links, lab]);
}

/** The lab's forwards by port. */
export function useForwards(lab: string): readonly Row<'forwards'>[] {
  const forwards = useTables((tables) => tables.forwards);
  return useMemo(
    () =>
      ofLab<'forwards'>(forwards, lab).sort((a, b) => a.port - b.port || a.address.localeCompare(b.address)),
    [forwards, lab],
  );
}

/** The lab's recipe in order. */
export function useSteps(lab: string): readonly Row<'steps'>[] {
  const steps = useTables((tables) => tables.steps);
  return useMemo(() => ofLab<'steps'>(steps, lab).sort((a, b) => a.order - b.order), [steps, lab]);
}
