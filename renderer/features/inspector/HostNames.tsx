// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import type { Scope } from '../../../electron/contract/names.ts';
import type { HostNamesRow } from '../../../electron/contract/rows.ts';
import { useTables, type Row } from '../../store/tables.ts';
import { Fact } from './Section.tsx';

/** Whether this computer resolves the guests' names, and how or why not. */
export function hostNamesWords(
  scope: Scope,
  names: HostNamesRow | null,
): { readonly value: string; readonly note: string } {
  if (scope === 'private') return { value: 'none', note: 'this computer has no route into a private lab' };
  switch (names?.state) {
    case undefined:
      return { value: 'none', note: 'systemd-resolved does not run, or the network has no DNS' };
    case 'set':
      return { value: 'guest.lab', note: 'by systemd-resolved' };
    case 'asking':
      return { value: 'asking…', note: 'systemd-resolved' };
    case 'refused':
      return { value: 'none', note: `systemd-resolved: ${names?.reason ?? 'refused'}` };
  }
}

/** The fact of {@link hostNamesWords}, with the command that mends it. */
export function HostNames({ network }: { readonly network: Row<'networks'> }): ReactElement | null {
  const scope = useTables((tables) => tables.labs.get(network.lab)?.scope);
  const { observed } = network;
  if (observed === null || observed.mode === 'bridged' || scope === undefined) return null;
  const { value, note } = hostNamesWords(scope, observed.hostNames);
  return (
    <>
      <Fact name="Names here" value={value} note={note} words />
      <Fact name="To have them" value={observed.hostNames?.command} copy />
    </>
  );
}
