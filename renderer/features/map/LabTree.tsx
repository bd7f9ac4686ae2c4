// SPDX-License-Identifier: Apache-2.0
import { useRef, useState, type KeyboardEvent, type MouseEvent, type ReactNode } from 'react';
import { guestVerbs } from '../../commands/guest.ts';
import { runCommand } from '../../commands/run.ts';
import { sameSubject, subjectKey, type Selection } from '../../store/subject.ts';
import { useUi } from '../../store/ui.ts';
import { RateText } from './GaugeText.tsx';
import './LabTree.css';
import { StateShape } from './StateShape.tsx';
import type { GuestNode, NatNode, Topology } from './map-model.ts';
import { treeOf, visibleItems, type TreeItem } from './tree.ts';
import { useTopology } from './useTopology.ts';

/** The lab's map as a tree: the same things, the same actions, for keyboards and screen readers. */
export default function LabTree({ lab }: { readonly lab: string }) {
  const topology = useTopology(lab);
  return topology && <Tree topology={topology} />;
}

function Tree({ topology }: { readonly topology: Topology }) {
  const [closed, setClosed] = useState<ReadonlySet<string>>(new Set());
  const selection = useUi((ui) => ui.selection);
  const root = useRef<HTMLUListElement>(null);
  const items = treeOf(topology);
  const visible = visibleItems(items, closed);
  const stop = visible.find((item) => sameSubject(item.selection, selection))?.key ?? visible[0]?.key;

  const setOpen = (key: string, open: boolean): void =>
    setClosed((before) => {
      const next = new Set(before);
      if (open) next.delete(key);
      else next.add(key);
      return next;
    });
  const goTo = (item: TreeItem | undefined): void => {
    if (!item) return;
    useUi.getState().select(item.selection);
    const element = root.current?.querySelector(`[data-key="${CSS.escape(item.key)}"]`);
    if (element instanceof HTMLElement) element.focus();
  };
  const under = (target: EventTarget): TreeItem | undefined => {
    const element = target instanceof Element ? target.closest('[data-key]') : null;
    return visible.find((item) => item.key === element?.getAttribute('data-key'));
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const item = under(event.target);
    const at = item ? visible.indexOf(item) : -1;
    if (!item || (event.target instanceof HTMLButtonElement && (event.key === 'Enter' || event.key === ' ')))
      return;
    const open = item.children.length > 0 && !closed.has(item.key);
    const act: Readonly<Record<string, () => void>> = {
      ArrowDown: () => goTo(visible[at + 1]),
      ArrowUp: () => goTo(visible[at - 1]),
      Home: () => goTo(visible[0]),
      End: () => goTo(visible.at(-1)),
      ArrowRight: () => (open ? goTo(item.children[0]) : setOpen(item.key, true)),
      ArrowLeft: () =>
        open ? setOpen(item.key, false) : goTo(visible.find((other) => other.children.includes(item))),
      Enter: () => openItem(item),
      ' ': () =>
        item.nat?.mode === 'nat'
          ? void runCommand('network.nat', item.selection)
          : useUi.getState().select(item.selection),
    };
    const action = act[event.key];
    if (!action || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    action();
  };
  const onClick = (event: MouseEvent): void => {
    const item = under(event.target);
    if (item && !(event.target instanceof HTMLButtonElement)) useUi.getState().select(item.selection);
  };
  return (
    <ul
      ref={root}
      className="map-tree"
      role="tree"
      aria-label={`${topology.lab} as a list`}
      onKeyDown={onKeyDown}
      onClick={onClick}
    >
      {items.map((item) => (
        <Item
          key={item.key}
          item={item}
          level={1}
          closed={closed}
          stop={stop}
          selection={selection}
          setOpen={setOpen}
        />
      ))}
    </ul>
  );
}

function openItem(item: TreeItem): void {
  if (item.guest) void runCommand('guest.serial', item.selection);
  else useUi.getState().select(item.selection);
}

interface ItemProps {
  readonly item: TreeItem;
  readonly level: number;
  readonly closed: ReadonlySet<string>;
  readonly stop: string | undefined;
  readonly selection: Selection | null;
  readonly setOpen: (key: string, open: boolean) => void;
}

function Item({ item, level, closed, stop, selection, setOpen }: ItemProps) {
  const hasChildren = item.children.length > 0;
  const open = hasChildren && !closed.has(item.key);
  const selected = sameSubject(item.selection, selection);
  return (
    <li
      role="treeitem"
      aria-level={level}
      aria-selected={selected}
      {...(hasChildren ? { 'aria-expanded': open } : {})}
      aria-label={item.label}
      data-key={item.key}
      tabIndex={item.key === stop ? 0 : -1}
    >
      <div className={`map-tree-row${selected ? ' selected' : ''}`}>
        {hasChildren ? (
          <button
            type="button"
            className="map-tree-toggle"
            tabIndex={-1}
            aria-label={open ? `Close ${item.title}` : `Open ${item.title}`}
            onClick={() => setOpen(item.key, !open)}
          >
            {open ? '▾' : '▸'}
          </button>
        ) : (
          <span className="map-tree-toggle" />
        )}
        <RowWords item={item} />
      </div>
      {open && (
        <ul role="group">
          {item.children.map((child) => (
            <Item
              key={child.key}
              item={child}
              level={level + 1}
              closed={closed}
              stop={stop}
              selection={selection}
              setOpen={setOpen}
            />
          ))}
        </ul>
      )}
    </li>
  );
}

function RowWords({ item }: { readonly item: TreeItem }) {
  return (
    <>
      {item.guest && <StateShape shape={item.guest.shape} />}
      <strong>{item.title}</strong>
      <span className="map-tree-detail">{item.detail}</span>
      {item.rate !== null && (
        <span className="map-tree-rate">
          <RateText link={item.rate} />
        </span>
      )}
      {item.nat && <NatAction nat={item.nat} />}
      {item.guest && <GuestActions guest={item.guest} />}
    </>
  );
}

function Action({ id, subject, children }: { id: string; subject: Selection; children: ReactNode }) {
  const pending = useUi((ui) => ui.pending.get(subjectKey(subject)));
  const mine = pending?.command === id;
  return (
    <button
      type="button"
      className="map-tree-action"
      aria-busy={mine}
      onClick={() => void runCommand(id, subject)}
    >
      {mine ? pending.word : children}
    </button>
  );
}

function NatAction({ nat }: { readonly nat: NatNode }) {
  if (nat.on === null || nat.mode !== 'nat') return null;
  return (
    <Action id="network.nat" subject={nat.selection}>
      Turn {nat.on ? 'off' : 'on'}
    </Action>
  );
}

function GuestActions({ guest }: { readonly guest: GuestNode }) {
  const ids = guest.startable
    ? ['guest.start']
    : guest.state === 'running'
      ? ['guest.shutdown', 'guest.serial']
      : ['guest.serial'];
  return ids.map((id) => (
    <Action key={id} id={id} subject={guest.selection}>
      {guestVerbs.get(id) ?? id}
    </Action>
  ));
}
