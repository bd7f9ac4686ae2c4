// SPDX-License-Identifier: Apache-2.0
import type { LucideIcon } from 'lucide-react';
import { Cable, Globe, FlaskConical, Monitor, Network } from 'lucide-react';
import { allCommands, type CommandState } from '../../commands/command.ts';
import { runCommand, verdict } from '../../commands/run.ts';
import { currentLabId, ofLab } from '../../store/select.ts';
import type { Selection, Subject } from '../../store/subject.ts';

/** Something that the palette finds: a command on a subject, or a thing. */
export interface Entry {
  readonly id: string;
  readonly text: string;
  /** What it is, or why it cannot be run. */
  readonly detail: string;
  readonly icon: LucideIcon;
  readonly shortcut?: string | undefined;
  readonly enabled: boolean;
  /** Words that find it besides its text: kind, state, addresses. Why it cannot be run is none of them. */
  readonly more: string;
  /** Lower goes first among equal matches. */
  readonly rank: number;
  readonly run: () => void;
}

/** Everything that can be found and run now. Things of the lab in view; every open lab. */
export function paletteEntries(state: CommandState): readonly Entry[] {
  const { tables, ui } = state;
  const labId = currentLabId(tables.labs, ui.lab);
  const entries: Entry[] = [];
  const thing = (selection: Selection, text: string, detail: string, icon: LucideIcon, more = ''): void => {
    entries.push({
      id: `${selection.kind}:${selection.id}`,
      text,
      detail,
      icon,
      enabled: true,
      more: `${detail} ${more}`,
      rank: 1,
      run() {
        ui.show('map');
        ui.select(selection);
      },
    });
  };
  const command = (commandId: string, subject: Subject | null, rank: number): void => {
    const found = allCommands().find(({ id }) => id === commandId);
    if (!found) return;
    const can = verdict(found, state, subject);
    entries.push({
      id: `${commandId}:${subject?.id ?? ''}`,
      text: found.label(state, subject),
      detail: can === true ? found.group : can,
      icon: found.icon,
      shortcut: found.shortcut,
      enabled: can === true,
      more: found.group,
      rank: can === true ? rank : rank + 4,
      run: () => void runCommand(commandId, subject),
    });
  };

  for (const found of allCommands()) {
    if (found.id === 'window.palette') continue;
    if (found.on === null) command(found.id, null, found.group === 'Window' ? 3 : 2);
  }
  if (labId !== null) {
    for (const guest of ofLab<'guests'>(tables.guests, labId)) {
      const subject: Selection = { kind: 'guest', id: guest.id };
      const addresses = guest.nics.map((nic) => nic.address ?? '').join(' ');
      thing(
        subject,
        guest.name,
        `guest · ${guest.state}`,
        Monitor,
        `${addresses} ${guest.imageLabel} ${guest.nics.map((nic) => nic.mac).join(' ')}`,
      );
      for (const found of allCommands()) if (found.on?.includes('guest')) command(found.id, subject, 2);
    }
    for (const network of ofLab<'networks'>(tables.networks, labId)) {
      const subject: Selection = { kind: 'network', id: network.id };
      thing(subject, network.name, `network · ${network.wanted?.subnet ?? 'not in the file'}`, Network);
      for (const found of allCommands()) if (found.on?.includes('network')) command(found.id, subject, 2);
    }
    for (const link of ofLab<'links'>(tables.links, labId)) {
      if (link.kind === 'bridge') continue;
      thing(
        { kind: 'link', id: link.id },
        link.name,
        `${link.master === null ? 'interface' : 'port'} · ${link.operstate}`,
        Cable,
        `${link.mac} ${link.addresses.join(' ')}`,
      );
    }
    thing({ kind: 'uplink', id: labId }, 'Internet', 'uplink', Globe);
  }
  for (const lab of tables.labs.values())
    entries.push({
      id: `lab:${lab.id}`,
      text: lab.name,
      detail: `lab · ${lab.state}`,
      icon: FlaskConical,
      enabled: true,
      more: `lab ${lab.state} ${lab.file}`,
      rank: 1,
      run: () => ui.chooseLab(lab.id),
    });
  return entries;
}

/** Whether `word` begins a word of `text`; longer ones count inside of words too. */
function contains(text: string, word: string): boolean {
  for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1))
    if (word.length > 2 || at === 0 || !/[a-z0-9]/.test(text[at - 1] ?? '')) return true;
  return false;
}

/** How well an entry answers a query: lower is better, null is not at all. Every word must be found. */
export function score(entry: Pick<Entry, 'text' | 'more' | 'rank'>, query: string): number | null {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const text = entry.text.toLowerCase();
  const all = `${text} ${entry.more.toLowerCase()}`;
  if (!words.every((word) => contains(all, word))) return null;
  const whole = words.join(' ');
  const fit =
    text === whole ? 0 : text.startsWith(whole) ? 10 : words.every((word) => contains(text, word)) ? 20 : 30;
  return fit + entry.rank;
}

/** The best answers to a query, at most `max`. Without one: things, then what can be run. */
export function findEntries(entries: readonly Entry[], query: string, max = 60): readonly Entry[] {
  return entries
    .map((entry) => ({ entry, score: score(entry, query) }))
    .filter((scored): scored is { entry: Entry; score: number } => scored.score !== null)
    .sort((a, b) => a.score - b.score)
    .slice(0, max)
    .map(({ entry }) => entry);
}
