// SPDX-License-Identifier: Apache-2.0
import { fortyLab, hugeLab, longNamesLab, lower, mockLab, modesLab, seedLab, statesLab } from '../labs.ts';
import type { LabRows } from '../rows.ts';

const makers: Readonly<Record<string, () => LabRows>> = {
  seed: seedLab,
  mock: mockLab,
  states: statesLab,
  modes: modesLab,
  long: longNamesLab,
  forty: fortyLab,
  huge: hugeLab,
};

/** The lab that a page's address asks for, and what "up" makes of it. */
export function labByName(name: string): { rows: LabRows; up: LabRows } {
  if (name === 'down') return { rows: lower(mockLab()), up: mockLab() };
  if (name === 'empty') {
    const seed = seedLab();
    const networks = seed.networks.map((row) => ({
      ...row,
      observed: row.observed && { ...row.observed, ports: 0 },
    }));
    const rows = { ...seed, networks, guests: [], links: seed.links.filter((link) => link.name !== 'tap0') };
    return { rows, up: rows };
  }
  if (name === 'nothing') {
    const rows = { ...seedLab(), networks: [], guests: [], links: [], forwards: [] };
    return { rows, up: rows };
  }
  const rows = (makers[name] ?? mockLab)();
  return { rows, up: rows };
}
