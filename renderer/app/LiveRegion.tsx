// SPDX-License-Identifier: Apache-2.0
import { useEffect, useState, type ReactElement } from 'react';
import { useTables, type Tables } from '../store/tables.ts';
import { useUi } from '../store/ui.ts';

/** What changed between two pictures that a listener wants to hear: guests' states and networks' NAT. */
export function spokenChanges(before: Tables, after: Tables): readonly string[] {
  const said: string[] = [];
  if (before.guests !== after.guests)
    for (const [id, guest] of after.guests) {
      const was = before.guests.get(id);
      if (was && was.state !== guest.state) said.push(`${guest.name} is ${guest.state}`);
    }
  if (before.networks !== after.networks)
    for (const [id, network] of after.networks) {
      const was = before.networks.get(id)?.observed;
      if (was && network.observed && was.mode === network.observed.mode && was.nat !== network.observed.nat)
        said.push(`NAT of ${network.name} is ${network.observed.nat ? 'on' : 'off'}`);
    }
  return said;
}

/** One sentence for many changes: more than five are counted. */
export function coalesce(said: readonly string[]): string {
  const distinct = [...new Set(said)];
  if (distinct.length <= 5) return distinct.join('. ');
  return `${distinct.slice(0, 3).join('. ')}, and ${distinct.length - 3} more changes`;
}

/** Changes of state for those who do not see them: polite, and those of a second in one sentence. */
export function LiveRegion(): ReactElement {
  const [text, setText] = useState('');
  useEffect(() => {
    let queue: string[] = [];
    let timer: ReturnType<typeof setTimeout> | undefined;
    const say = (sentences: readonly string[]): void => {
      if (sentences.length === 0) return;
      queue.push(...sentences);
      timer ??= setTimeout(() => {
        setText(coalesce(queue));
        queue = [];
        timer = undefined;
      }, 1000);
    };
    const stops = [
      useTables.subscribe((after, before) => say(spokenChanges(before, after))),
      useUi.subscribe((after, before) => {
        if (after.announcement !== before.announcement && after.announcement !== '')
          say([after.announcement]);
      }),
    ];
    return () => {
      clearTimeout(timer);
      for (const stop of stops) stop();
    };
  }, []);
  return (
    <div className="visually-hidden" role="status" aria-live="polite">
      {text}
    </div>
  );
}
