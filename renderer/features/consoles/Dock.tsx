// SPDX-License-Identifier: Apache-2.0
import { ChevronDown, ChevronUp, X } from 'lucide-react';
import { lazy, Suspense, useCallback, useRef, type KeyboardEvent, type ReactElement } from 'react';
import { Boundary } from '../../lib/Boundary.tsx';
import { Button } from '../../lib/Button.tsx';
import { Splitter } from '../../lib/Splitter.tsx';
import { cx } from '../../lib/class-names.ts';
import { elideMiddle } from '../../lib/format.ts';
import { tallQuery, useMedia } from '../../lib/use-media.ts';
import { consoleKey, type ConsoleTab } from '../../store/kept.ts';
import { useGuests } from '../../store/select.ts';
import { useTables, type Row } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import styles from './Dock.module.css';
import { releaseChord } from './release-chord.ts';

const SerialPane = lazy(() => import('./SerialPane.tsx'));
const ScreenPane = lazy(() => import('./ScreenPane.tsx'));

/** The consoles under the map. */
export function Dock({ lab }: { readonly lab: Row<'labs'> }): ReactElement {
  const tall = useMedia(tallQuery);
  const consoles = useUi((ui) => ui.consoles);
  const guests = useTables((tables) => tables.guests);
  const activeKey = useUi((ui) => ui.activeConsole);
  const open = useUi((ui) => ui.dockOpen);
  const height = useUi((ui) => ui.dockHeight);
  const wantsSplit = useUi((ui) => ui.split);
  const splitAt = useUi((ui) => ui.splitAt);
  const focused = useUi((ui) => ui.focusedConsole);
  const tabs = useRef<HTMLDivElement>(null);

  const release = useCallback(() => {
    tabs.current?.querySelector<HTMLElement>('[role="tab"][aria-selected="true"]')?.focus();
  }, []);

  // Tabs of another lab wait until that lab is in view again.
  const here = consoles.filter((tab) => guests.get(tab.guest)?.lab === lab.id);
  const active = here.find((tab) => consoleKey(tab) === activeKey) ?? here[0];
  const guest = active && guests.get(active.guest);
  const split = wantsSplit && tall;

  if (!active || !guest) return <EmptyDock lab={lab} />;

  const pane = (kind: ConsoleTab['kind']): ReactElement => (
    <Boundary key={`${guest.id}:${kind}`}>
      <Suspense fallback={<div className={styles.loading} />}>
        {kind === 'serial' ? (
          <SerialPane guest={guest} onRelease={release} />
        ) : (
          <ScreenPane guest={guest} onRelease={release} />
        )}
      </Suspense>
    </Boundary>
  );

  return (
    <section className={styles.dock} aria-label="Consoles">
      {open ? (
        <Splitter
          label="Height of the consoles"
          orientation="horizontal"
          value={height}
          min={120}
          max={1200}
          step={16}
          grows={false}
          toValue={(start, delta) => start - delta}
          onChange={(dockHeight) => useUi.getState().keep({ dockHeight })}
        />
      ) : null}
      <div className={styles.bar}>
        <div className={styles.tabs} role="tablist" aria-label="Consoles" ref={tabs}>
          {here.map((tab) => (
            <Tab
              key={consoleKey(tab)}
              tab={tab}
              active={tab === active}
              beside={split && tab.guest === active.guest}
            />
          ))}
        </div>
        {split ? null : <OpenOther guest={guest} tabs={here} />}
        <span className={styles.space} />
        {focused === null ? null : <span className={styles.chord}>{releaseChord} releases the keyboard</span>}
        {tall ? (
          <Button
            variant="ghost"
            size="small"
            aria-pressed={split}
            onPress={() => useUi.getState().keep({ split: !wantsSplit, dockOpen: true })}
          >
            {split ? 'One pane' : 'Split'}
          </Button>
        ) : null}
        <Button
          variant="ghost"
          size="small"
          iconOnly
          aria-label={open ? 'Fold the consoles' : 'Unfold the consoles'}
          aria-expanded={open}
          onPress={() => useUi.getState().keep({ dockOpen: !open })}
        >
          {open ? <ChevronDown aria-hidden /> : <ChevronUp aria-hidden />}
        </Button>
      </div>
      {open ? (
        <div
          className={styles.panes}
          role="tabpanel"
          aria-label={tabName(guest, active.kind)}
          style={{ height }}
        >
          {split ? (
            <>
              <div className={styles.half} style={{ flexGrow: splitAt }}>
                {pane('serial')}
              </div>
              <SplitBetween at={splitAt} onChange={(at) => useUi.getState().keep({ splitAt: at })} />
              <div className={styles.half} style={{ flexGrow: 1 - splitAt }}>
                {pane('screen')}
              </div>
            </>
          ) : (
            pane(active.kind)
          )}
        </div>
      ) : null}
    </section>
  );
}

const tabName = (guest: Row<'guests'>, kind: ConsoleTab['kind']): string =>
  `${elideMiddle(guest.name, 24)} · ${kind}`;

/** Arrow keys go from tab to tab (WAI-ARIA tabs pattern). */
function moveBetweenTabs(event: KeyboardEvent<HTMLElement>): void {
  const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
  if (step === 0) return;
  const all = [
    ...(event.currentTarget.closest('[role="tablist"]')?.querySelectorAll<HTMLElement>('[role="tab"]') ?? []),
  ];
  const at = all.findIndex((tab) => tab === document.activeElement);
  const next = all[(at + step + all.length) % all.length];
  if (at < 0 || !next) return;
  event.preventDefault();
  next.focus();
  next.click();
}

interface TabProps {
  readonly tab: ConsoleTab;
  readonly active: boolean;
  /** Shown too, in the other half. */
  readonly beside: boolean;
}

function Tab({ tab, active, beside }: TabProps): ReactElement | null {
  const guest = useTables((tables) => tables.guests.get(tab.guest));
  if (!guest) return null;
  const key = consoleKey(tab);
  const name = tabName(guest, tab.kind);
  return (
    <span className={cx(styles.tab, (active || beside) && styles.active)} role="presentation">
      <button
        type="button"
        role="tab"
        aria-selected={active}
        tabIndex={active ? 0 : -1}
        title={`${guest.name} · ${tab.kind}`}
        onClick={() => useUi.getState().openConsole(tab)}
        onKeyDown={(event) => {
          if (event.key === 'Delete') useUi.getState().closeConsole(key);
          else moveBetweenTabs(event);
        }}
      >
        {name}
      </button>
      <Button
        variant="ghost"
        size="small"
        iconOnly
        excludeFromTabOrder
        aria-label={`Close ${name}`}
        className={styles.close}
        onPress={() => useUi.getState().closeConsole(key)}
      >
        <X aria-hidden />
      </Button>
    </span>
  );
}

/** The other console of a guest that has one open. */
function OpenOther({
  guest,
  tabs,
}: {
  readonly guest: Row<'guests'>;
  readonly tabs: readonly ConsoleTab[];
}): ReactElement | null {
  const kinds = ['serial', 'screen'] as const;
  const missing = kinds.find((kind) => !tabs.some((tab) => tab.guest === guest.id && tab.kind === kind));
  if (!missing) return null;
  return (
    <Button
      variant="ghost"
      size="small"
      onPress={() => useUi.getState().openConsole({ guest: guest.id, kind: missing })}
    >
      + {missing}
    </Button>
  );
}

function SplitBetween({
  at,
  onChange,
}: {
  readonly at: number;
  readonly onChange: (at: number) => void;
}): ReactElement {
  const box = useRef<HTMLDivElement>(null);
  return (
    <div ref={box} className={styles.between}>
      <Splitter
        label="Share of the serial console"
        orientation="vertical"
        value={at}
        min={0.2}
        max={0.8}
        step={0.05}
        grows
        toValue={(start, delta) => start + delta / (box.current?.parentElement?.clientWidth ?? 1000)}
        onChange={onChange}
      />
    </div>
  );
}

/** No console is open: the ones that could be, of the guest that is selected or of another. */
function EmptyDock({ lab }: { readonly lab: Row<'labs'> }): ReactElement | null {
  const guests = useGuests(lab.id);
  const selected = useUi((ui) => (ui.selection?.kind === 'guest' ? ui.selection.id : null));
  const guest =
    guests.find(({ id }) => id === selected) ??
    guests.find(({ state }) => state === 'running') ??
    guests.find(({ pid }) => pid !== null) ??
    guests[0];
  if (!guest) return null;
  return (
    <section className={cx(styles.dock, styles.empty)} aria-label="Consoles">
      <div className={styles.bar}>
        <label className={styles.hint}>
          Console of
          <select
            value={guest.id}
            title={guest.name}
            // Not `select`: with little room that lays the inspector over the map.
            onChange={({ target }) => useUi.setState({ selection: { kind: 'guest', id: target.value } })}
          >
            {guests.map(({ id, name }) => (
              <option key={id} value={id}>
                {elideMiddle(name, 28)}
              </option>
            ))}
          </select>
        </label>
        <Button
          variant="ghost"
          size="small"
          onPress={() => useUi.getState().openConsole({ guest: guest.id, kind: 'serial' })}
        >
          Serial
        </Button>
        <Button
          variant="ghost"
          size="small"
          onPress={() => useUi.getState().openConsole({ guest: guest.id, kind: 'screen' })}
        >
          Screen
        </Button>
      </div>
    </section>
  );
}
