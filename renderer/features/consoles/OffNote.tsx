// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { CommandButton } from '../../commands/CommandButton.tsx';
import { StateIcon } from '../../lib/StateIcon.tsx';
import { cx } from '../../lib/class-names.ts';
import type { Row } from '../../store/tables.ts';
import styles from './OffNote.module.css';

interface OffNoteProps {
  readonly guest: Row<'guests'>;
  /** What can be seen all the same. */
  readonly what?: string;
  /** Fills the pane instead of lying above it. */
  readonly whole?: boolean;
}

/** A console of a guest that does not run: why, and how to start it. */
export function OffNote({ guest, what, whole }: OffNoteProps): ReactElement {
  return (
    <div className={cx(styles.off, whole && styles.whole)}>
      <StateIcon state={guest.state} />
      <span>
        {guest.name} {guest.state === 'crashed' ? 'crashed' : `is ${guest.state}`}
        {guest.stateReason === null ? '' : ` (${guest.stateReason})`}. {what}
        {guest.error ? ` ${guest.error.message}` : ''}
      </span>
      <CommandButton
        id="guest.start"
        subject={{ kind: 'guest', id: guest.id }}
        text="Start"
        size="small"
        variant="primary"
      />
    </div>
  );
}
