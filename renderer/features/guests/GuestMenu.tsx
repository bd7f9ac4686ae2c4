// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { guestVerbs } from '../../commands/guest.ts';
import { useCommand } from '../../commands/use-command.ts';
import { Menu, MenuItem } from '../../lib/Menu.tsx';
import type { MenuPlace } from '../../lib/MenuButton.tsx';
import type { Subject } from '../../store/subject.ts';
import type { Row } from '../../store/tables.ts';

interface GuestMenuProps extends MenuPlace {
  readonly guest: Row<'guests'>;
  /** The ids of what it offers. */
  readonly commands: readonly string[];
}

/** What can be done with a guest and has no button of its own. */
export default function GuestMenu({ guest, commands, ...place }: GuestMenuProps): ReactElement {
  return (
    <Menu {...place} label={`More for ${guest.name}`} placement="bottom end">
      {commands.map((id) => (
        <CommandItem key={id} id={id} subject={{ kind: 'guest', id: guest.id }} />
      ))}
    </Menu>
  );
}

/** A command as an entry of a guest's menu. */
function CommandItem({ id, subject }: { readonly id: string; readonly subject: Subject }): ReactElement {
  const { command, label, unavailable, run } = useCommand(id, subject);
  const Icon = command.icon;
  return (
    <MenuItem
      id={id}
      icon={<Icon aria-hidden />}
      detail={unavailable}
      shortcut={command.shortcut}
      isDisabled={unavailable !== undefined}
      danger={id === 'guest.remove'}
      onAction={run}
    >
      {guestVerbs.get(id) ?? label}
    </MenuItem>
  );
}
