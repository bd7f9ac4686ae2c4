// SPDX-License-Identifier: Apache-2.0
import { ChevronDown, ChevronUp, X } from 'lucide-react';
import { useEffect, useRef, useState, useSyncExternalStore, type ReactElement } from 'react';
import { Button } from '../../lib/Button.tsx';
import type { Row } from '../../store/tables.ts';
import { OffNote } from './OffNote.tsx';
import styles from './SerialPane.module.css';
import { releaseChord } from './release-chord.ts';
import { serialTerminal, type SerialTerminal } from './serial-terminal.ts';
import { useConsoleKeyboard } from './use-console-keyboard.ts';

interface SerialPaneProps {
  readonly guest: Row<'guests'>;
  /** Gives the keyboard back to the window. */
  readonly onRelease: () => void;
}

/** A guest's serial console. */
export default function SerialPane({ guest, onRelease }: SerialPaneProps): ReactElement {
  const place = useRef<HTMLDivElement>(null);
  const [searching, setSearching] = useState(false);
  // Made once for the tab; the pane only lends it a place.
  const [terminal] = useState(() => serialTerminal(guest));

  useEffect(() => {
    const element = place.current;
    if (!element || !terminal) return;
    terminal.attach(element);
    const stopSearch = terminal.onSearch(() => setSearching(true));
    const resize = new ResizeObserver(() => terminal.fit());
    resize.observe(element);
    return () => {
      resize.disconnect();
      stopSearch();
      terminal.detach();
    };
  }, [terminal]);
  useConsoleKeyboard(place, guest.id, 'serial', onRelease);

  if (!terminal) return <p>This lab is no longer open.</p>;
  return (
    <div className={styles.pane}>
      <Notes guest={guest} terminal={terminal} />
      {searching ? (
        <SearchBar
          terminal={terminal}
          onClose={() => {
            setSearching(false);
            terminal.search.clearDecorations();
            terminal.terminal.focus();
          }}
        />
      ) : null}
      <div
        ref={place}
        className={styles.place}
        role="group"
        aria-label={`Serial console of ${guest.name}. ${releaseChord} releases the keyboard.`}
      />
    </div>
  );
}

/** Why nothing moves: the guest is off, or the stream is gone. */
function Notes({
  guest,
  terminal,
}: {
  readonly guest: Row<'guests'>;
  readonly terminal: SerialTerminal;
}): ReactElement | null {
  const status = useSyncExternalStore(
    (listener) => terminal.subscribe(listener),
    () => terminal.status,
  );
  if (guest.pid === null) return <OffNote guest={guest} what="Its last lines are below." />;
  if (!status.open && status.error)
    return (
      <p className={styles.note} role="status">
        {status.error.message.replace(/\.?$/, '.')} Trying again…
      </p>
    );
  return null;
}

function SearchBar({
  terminal,
  onClose,
}: {
  readonly terminal: SerialTerminal;
  readonly onClose: () => void;
}): ReactElement {
  const [text, setText] = useState('');
  const [found, setFound] = useState(true);
  const find = (what: string, back: boolean): void => {
    setFound(what === '' || (back ? terminal.search.findPrevious(what) : terminal.search.findNext(what)));
  };
  return (
    <div className={styles.search} role="search">
      <input
        // eslint-disable-next-line jsx-a11y/no-autofocus -- the user has just asked for it
        autoFocus
        aria-label="Find in the console"
        placeholder="Find"
        value={text}
        onKeyDown={(event) => {
          if (event.key === 'Escape') onClose();
          if (event.key === 'Enter') find(text, !event.shiftKey);
        }}
        onChange={(event) => {
          setText(event.target.value);
          find(event.target.value, true);
        }}
      />
      <span role="status">{found ? '' : 'not found'}</span>
      <Button variant="ghost" size="small" iconOnly aria-label="Find above" onPress={() => find(text, true)}>
        <ChevronUp aria-hidden />
      </Button>
      <Button variant="ghost" size="small" iconOnly aria-label="Find below" onPress={() => find(text, false)}>
        <ChevronDown aria-hidden />
      </Button>
      <Button variant="ghost" size="small" iconOnly aria-label="Close the search" onPress={onClose}>
        <X aria-hidden />
      </Button>
    </div>
  );
}
