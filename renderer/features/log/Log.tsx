// SPDX-License-Identifier: Apache-2.0
import { memo, useDeferredValue, useLayoutEffect, useRef, useState, type ReactElement } from 'react';
import { type ActRow, actBy } from '../../../electron/contract/act.ts';
import { CopyButton } from '../../lib/CopyButton.tsx';
import { ErrorNote } from '../../lib/ErrorNote.tsx';
import { cx } from '../../lib/class-names.ts';
import { count } from '../../lib/format.ts';
import type { Row } from '../../store/tables.ts';
import styles from './Log.module.css';
import { matches } from './match.ts';
import { useActs } from './use-acts.ts';

/** Within so many pixels of its end the list goes on with what is new. */
const nearEnd = 40;

/** What the network helper did for the lab, the newest at the bottom. */
export default function Log({ lab }: { readonly lab: Row<'labs'> }): ReactElement {
  const acts = useActs(lab.id);
  const [filter, setFilter] = useState('');
  const wanted = useDeferredValue(filter);
  const shown = acts?.filter((act) => matches(act, wanted)) ?? [];
  const list = useRef<HTMLOListElement>(null);
  const follows = useRef(true);

  useLayoutEffect(() => {
    if (list.current && follows.current) list.current.scrollTop = list.current.scrollHeight;
  });

  return (
    <div className={styles.page}>
      <div className={styles.head}>
        <div>
          <h1 className={styles.title}>Log</h1>
          <p className={styles.lead} role="status">
            {lead(lab.name, acts, shown.length, wanted)}
          </p>
        </div>
        <input
          type="search"
          className={styles.filter}
          aria-label="Filter the log"
          placeholder="Filter: nft, br0, failed…"
          value={filter}
          onChange={(event) => setFilter(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === 'Escape' && filter !== '') {
              event.stopPropagation();
              setFilter('');
            }
          }}
        />
      </div>
      {shown.length === 0 ? null : (
        <ol
          ref={list}
          className={styles.list}
          // A list that scrolls is reached by keyboard, too.
          // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex
          tabIndex={0}
          aria-label={`What the network helper did for ${lab.name}`}
          data-selectable
          onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
            follows.current = scrollHeight - scrollTop - clientHeight < nearEnd;
          }}
        >
          {shown.map((act) => (
            <Act key={act.id} act={act} />
          ))}
        </ol>
      )}
    </div>
  );
}

function lead(lab: string, acts: readonly ActRow[] | null, shown: number, filter: string): string {
  if (acts === null) return '';
  if (acts.length === 0)
    return `The network helper has done nothing for ${lab} yet. Bring it up, and each step stands here with its command.`;
  if (filter.trim() === '')
    return `What the network helper did for ${lab}: the last ${count(acts.length, 'act')}.`;
  return shown === 0
    ? `None of ${count(acts.length, 'act')} has that in it.`
    : `${shown} of ${count(acts.length, 'act')}.`;
}

const Act = memo(function Act({ act }: { readonly act: ActRow }): ReactElement {
  const at = new Date(act.time);
  return (
    <li className={cx(styles.act, act.error && styles.failed)}>
      <time className={styles.time} dateTime={at.toISOString()} title={at.toLocaleString()}>
        {clock(at)}
      </time>
      <div className={styles.body}>
        <p className={styles.what}>
          {act.error ? (
            <span className={styles.mark} role="img" aria-label="failed:">
              ✗{' '}
            </span>
          ) : null}
          {act.what} <span className={styles.by}>{actBy(act)}</span>
        </p>
        {act.command === null ? null : <Command text={act.command} />}
        {act.error ? <ErrorNote error={act.error} /> : null}
      </div>
    </li>
  );
});

function Command({ text }: { readonly text: string }): ReactElement {
  const lines = text.split('\n');
  return (
    <div className={styles.command}>
      {lines.length <= shortCommand ? (
        <pre>{text}</pre>
      ) : (
        <details>
          <summary>
            <code>{lines[0]}</code> and {count(lines.length - 1, 'more line')}
          </summary>
          <pre>{text}</pre>
        </details>
      )}
      <CopyButton what="the command" text={text} />
    </div>
  );
}

/** So many lines of a command are shown without being asked for. */
const shortCommand = 4;

const two = (value: number): string => String(value).padStart(2, '0');

/** `13:04:05.678`; the whole of it is in the title. */
const clock = (at: Date): string =>
  `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, '0')}`;
