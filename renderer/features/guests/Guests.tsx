// SPDX-License-Identifier: Apache-2.0
import { memo, useDeferredValue, type ReactElement } from 'react';
import { CommandButton } from '../../commands/CommandButton.tsx';
import { CopyButton } from '../../lib/CopyButton.tsx';
import { Page } from '../../lib/Page.tsx';
import { StateIcon } from '../../lib/StateIcon.tsx';
import { cx } from '../../lib/class-names.ts';
import { count, elideMiddle, formatBytes } from '../../lib/format.ts';
import { useGuests } from '../../store/select.ts';
import type { Row } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import { GuestActions } from './GuestActions.tsx';
import styles from './Guests.module.css';

/** The lab's guests as a table. */
export function Guests({ lab }: { readonly lab: Row<'labs'> }): ReactElement {
  const guests = useGuests(lab.id);
  const running = guests.filter((guest) => guest.state === 'running').length;
  // A screenful at once, the rest as soon as there is nothing better to do: hundreds of rows take a while.
  const rows = useDeferredValue(guests, guests.slice(0, 40));
  return (
    <Page
      title="Guests"
      lead={`${count(guests.length, 'guest')} in ${lab.name}, ${running} running`}
      actions={<CommandButton id="guest.new" withIcon />}
    >
      {guests.length === 0 ? (
        <p className={styles.none}>The lab file has no guests yet. “New guest” writes one into it.</p>
      ) : (
        <table className={styles.table}>
          <thead>
            <tr>
              <th scope="col">State</th>
              <th scope="col" className={styles.wide}>
                Name
              </th>
              <th scope="col">Address</th>
              <th scope="col">Image</th>
              <th scope="col" className={styles.number}>
                Memory
              </th>
              <th scope="col">
                <span className="visually-hidden">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map((guest) => (
              <GuestLine key={guest.id} guest={guest} />
            ))}
          </tbody>
        </table>
      )}
    </Page>
  );
}

const GuestLine = memo(function GuestLine({ guest }: { readonly guest: Row<'guests'> }): ReactElement {
  const selected = useUi((ui) => ui.selection?.kind === 'guest' && ui.selection.id === guest.id);
  return (
    <tr className={cx(selected && styles.selected)}>
      <td>
        <span className={styles.state}>
          <StateIcon state={guest.state} />
          {guest.state}
        </span>
      </td>
      <th scope="row">
        <button
          type="button"
          className={styles.name}
          title={guest.name}
          aria-current={selected ? 'true' : undefined}
          onClick={() => useUi.getState().select({ kind: 'guest', id: guest.id })}
        >
          {elideMiddle(guest.name, 32)}
        </button>
        {guest.error ? <div className={styles.error}>{guest.error.message}</div> : null}
      </th>
      <td>
        {guest.nics.map((nic) =>
          nic.address === null ? null : (
            <span key={nic.index} className={styles.address}>
              <code>{nic.address}</code>
              <CopyButton what={nic.address} text={nic.address} />
              {guest.nics.length > 1 ? <span className={styles.faint}>{nic.network}</span> : null}
            </span>
          ),
        )}
      </td>
      <td className={styles.image} title={guest.image}>
        {elideMiddle(guest.imageLabel, 30)}
      </td>
      <td className={styles.number}>{formatBytes(guest.memory)}</td>
      <td>
        <GuestActions guest={guest} compact />
      </td>
    </tr>
  );
});
