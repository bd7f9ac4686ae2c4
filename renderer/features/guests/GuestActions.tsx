// SPDX-License-Identifier: Apache-2.0
import { Ellipsis } from 'lucide-react';
import type { ReactElement } from 'react';
import { CommandButton } from '../../commands/CommandButton.tsx';
import { guestActions, guestVerbs } from '../../commands/guest.ts';
import { useCommand } from '../../commands/use-command.ts';
import { Button } from '../../lib/Button.tsx';
import { Menu, MenuItem } from '../../lib/Menu.tsx';
import type { Row } from '../../store/tables.ts';
import type { Subject } from '../../store/subject.ts';
import styles from './GuestActions.module.css';

/** A guest's buttons: what fits its state, the rest in a menu. */
export function GuestActions({
  guest,
  compact,
}: {
  readonly guest: Row<'guests'>;
  readonly compact?: boolean;
}): ReactElement {
  const subject: Subject = { kind: 'guest', id: guest.id };
  const { first, more } = guestActions(guest.state);
  const shown = compact ? first.slice(0, 1) : first;
  const menu = [...(compact ? first.slice(1) : []), ...more];
  return (
    <div className={styles.actions}>
      {shown.map((id, index) => (
        <CommandButton
          key={id}
          id={id}
          subject={subject}
          text={guestVerbs.get(id)}
          size={compact ? 'small' : 'normal'}
          variant={index === 0 && id === 'guest.start' && !compact ? 'primary' : 'plain'}
        />
      ))}
      <Menu
        label={`More for ${guest.name}`}
        placement="bottom end"
        trigger={
          <Button
            variant="ghost"
            iconOnly
            size={compact ? 'small' : 'normal'}
            aria-label={`More for ${guest.name}`}
          >
            <Ellipsis aria-hidden />
          </Button>
        }
      >
        {menu.map((id) => (
          <CommandItem key={id} id={id} subject={subject} />
        ))}
      </Menu>
    </div>
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
