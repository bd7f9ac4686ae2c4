// SPDX-License-Identifier: Apache-2.0
import { Search } from 'lucide-react';
import { useDeferredValue, useMemo, useState, type ReactElement } from 'react';
import { Autocomplete, Dialog, Input, Menu, Modal, ModalOverlay, SearchField } from 'react-aria-components';
import { commandState } from '../../commands/run.ts';
import { MenuItem } from '../../lib/Menu.tsx';
import { useTables } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import styles from './Palette.module.css';
import { findEntries, paletteEntries, type Entry } from './entries.ts';

const close = (): void => useUi.getState().openDialog('palette', false);

const choose = (entry: Entry): void => {
  close();
  entry.run();
};

/** Finds every thing and runs every command. */
export default function Palette(): ReactElement {
  const tables = useTables();
  const [query, setQuery] = useState('');
  const deferred = useDeferredValue(query);
  // The tables change many times a second at most; the list of what can be found follows them.
  const entries = useMemo(() => paletteEntries({ ...commandState(), tables }), [tables]);
  const found = useMemo(() => findEntries(entries, deferred), [entries, deferred]);
  return (
    <ModalOverlay
      isOpen
      isDismissable
      onOpenChange={(open) => {
        if (!open) close();
      }}
      className={styles.overlay ?? ''}
    >
      <Modal className={styles.modal ?? ''}>
        <Dialog aria-label="Search or run a command" className={styles.dialog ?? ''}>
          <Autocomplete inputValue={query} onInputChange={setQuery}>
            <SearchField
              // eslint-disable-next-line jsx-a11y/no-autofocus -- opened by a key to be typed into
              autoFocus
              aria-label="Search or run a command"
              className={styles.field ?? ''}
              onKeyDown={(event) => {
                // Escape first clears a search field; here it closes.
                if (event.key === 'Escape') close();
                // Typed faster than the list follows: the best answer to what was typed is meant.
                if (
                  event.key === 'Enter' &&
                  event.target instanceof Element &&
                  !event.target.getAttribute('aria-activedescendant')
                ) {
                  const best = findEntries(entries, query, 1)[0];
                  if (best?.enabled) choose(best);
                }
                event.continuePropagation();
              }}
            >
              <Search aria-hidden />
              <Input placeholder="Search or run a command" className={styles.input ?? ''} />
            </SearchField>
            <Menu
              aria-label="Results"
              items={found}
              className={styles.results ?? ''}
              renderEmptyState={() => <p className={styles.none}>Nothing here is called that.</p>}
              onAction={(id) => {
                const entry = found.find((other) => other.id === id);
                if (entry) choose(entry);
              }}
            >
              {(entry) => {
                const Icon = entry.icon;
                return (
                  <MenuItem
                    flat
                    id={entry.id}
                    icon={<Icon aria-hidden />}
                    detail={entry.detail}
                    shortcut={entry.shortcut}
                    isDisabled={!entry.enabled}
                  >
                    {entry.text}
                  </MenuItem>
                );
              }}
            </Menu>
          </Autocomplete>
        </Dialog>
      </Modal>
    </ModalOverlay>
  );
}
