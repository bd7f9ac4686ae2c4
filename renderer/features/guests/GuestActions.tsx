// SPDX-License-Identifier: Apache-2.0
import { Ellipsis } from 'lucide-react';
import type { ReactElement } from 'react';
import { CommandButton } from '../../commands/CommandButton.tsx';
import { guestActions, guestVerbs } from '../../commands/guest.ts';
import { MenuButton } from '../../lib/MenuButton.tsx';
import { later } from '../../lib/later.tsx';
import type { Row } from '../../store/tables.ts';
import type { Subject } from '../../store/subject.ts';
import styles from './GuestActions.module.css';

const GuestMenu = later(() => import('./GuestMenu.tsx'));

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
      <MenuButton
        variant="ghost"
        iconOnly
        size={compact ? 'small' : 'normal'}
        aria-label={`More for ${guest.name}`}
        renderMenu={(place) => <GuestMenu {...place} guest={guest} commands={menu} />}
      >
        <Ellipsis aria-hidden />
      </MenuButton>
    </div>
  );
}
