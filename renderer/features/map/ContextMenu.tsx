// SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef, type RefObject } from 'react';
import { commandById, type CommandState } from '../../commands/command.ts';
import { guestActions } from '../../commands/guest.ts';
import { commandState, runCommand, verdict } from '../../commands/run.ts';
import { Menu, MenuItem } from '../../lib/Menu.tsx';
import type { Subject } from '../../store/subject.ts';

/** Where a menu was asked for and what it is about. Screen pixels within the map. */
export interface MenuRequest {
  readonly subject: Subject;
  readonly x: number;
  readonly y: number;
}

/** The commands that a thing's menu offers, by id. */
function commandsOf(subject: Subject, { tables }: CommandState): readonly string[] {
  switch (subject.kind) {
    case 'guest': {
      const guest = tables.guests.get(subject.id);
      if (!guest) return [];
      const { first, more } = guestActions(guest.state);
      return [...first, ...more];
    }
    case 'network':
    case 'nat':
      return ['network.nat', 'network.edit', 'network.remove', 'guest.new'];
    case 'link': {
      const owner = tables.links.get(subject.id)?.ours?.network;
      return owner === undefined ? [] : ['guest.new'];
    }
    case 'uplink':
    case 'lab':
      return ['lab.up', 'lab.down', 'network.new', 'guest.new', 'recipe.copy'];
  }
}

interface Props {
  readonly request: MenuRequest;
  readonly onClose: () => void;
}

/** The menu of a thing on the map, at the pointer or at the thing that has the keyboard. */
export default function ContextMenu({ request, onClose }: Props) {
  const anchor = useRef<HTMLSpanElement>(null);
  const returnTo = useFocusedBefore();
  const state = commandState();
  const ids = commandsOf(request.subject, state);
  const close = (): void => {
    onClose();
    returnTo.current?.focus();
  };
  return (
    <>
      <span ref={anchor} className="map-menu-anchor" style={{ left: request.x, top: request.y }} />
      {ids.length === 0 ? null : (
        <Menu anchor={anchor} focus="first" label="Actions" onClose={close}>
          {ids.map((id) => {
            const command = commandById(id);
            const can = verdict(command, state, command.on ? request.subject : null);
            const Icon = command.icon;
            return (
              <MenuItem
                key={id}
                icon={<Icon aria-hidden />}
                detail={can === true ? undefined : can}
                isDisabled={can !== true}
                shortcut={command.shortcut}
                onAction={() => void runCommand(id, command.on ? request.subject : null)}
              >
                {command.label(state, request.subject)}
              </MenuItem>
            );
          })}
        </Menu>
      )}
    </>
  );
}

function useFocusedBefore(): RefObject<HTMLElement | null> {
  const before = useRef<HTMLElement | null>(null);
  useEffect(() => {
    if (document.activeElement instanceof HTMLElement) before.current = document.activeElement;
  }, []);
  return before;
}
